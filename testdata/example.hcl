persistentFileSystemSize = "64m"
kds {
  # A node that runs on a simulated CPU. A real one names its signer.
  kdsEnclaveConstraint = "S:0000000000000000000000000000000000000000000000000000000000000000 PROD:1 SEC:INSECURE"
  persistenceKeySpec {
    masterKeyType = "development"
    policyConstraint {
      constraint                   = "SEC:INSECURE"
      useOwnCodeSignerAndProductID = true
    }
  }
}
