# Measured with the enclave: it is part of the program. A real enclave names the
# signer of its KDS, another master key than development, and SEC:STALE or more.
persistentFileSystemSize = "64m"
kds {
  kdsEnclaveConstraint = "S:0000000000000000000000000000000000000000000000000000000000000000 PROD:1 SEC:INSECURE"
  persistenceKeySpec {
    masterKeyType = "development"
    policyConstraint {
      constraint                   = "SEC:INSECURE"
      useOwnCodeSignerAndProductID = true
    }
  }
}
