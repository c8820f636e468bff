# The measured configuration of an example service, which "make ego" embeds unless
# it is given another. Whoever signs this signs these keys: put in your own.
#
# A cluster of one: no custodians, so that the loss of its sealed key is the loss of
# every key. See "A cluster" in docs/operations.md; azure_hsm may stand here instead.
operators = ["22e77796e33a75a43f38800afc7dac00b2096c86c21cd918078b07018985531b"]
cluster {
  name = "example"
}
