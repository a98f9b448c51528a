"""A certificate for listeners that cannot do without one, in the place of a secret of elsewhere.

For tests alone: the key is public, and protects nothing. It is valid for a hundred years, for
`localhost`, and is no authority. Made with `openssl req -x509 -newkey ec -nodes`.
"""

from __future__ import annotations

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFX/G9yTTWFaqTGXr
CKBcB3ZOiNFamOtqsVQ+0H5XghihRANCAAQ9ie2mGJBYpf9YL2Uef77crhps03yf
j8Fr2AOrCoi1pi6cVC79c7blFHjsQjOx7prK79oTwW1WUWc+p76sLOaE
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBqTCCAU6gAwIBAgIULGOQn9GU1D8RantcnMsMFAiVn6IwCgYIKoZIzj0EAwIw
HzEdMBsGA1UEAwwUZW52b3lhc3NlcnQtc3RhbmQtaW4wIBcNMjYxMTI4MDg0OTAz
WhgPMjEyNjExMDQwODQ5MDNaMB8xHTAbBgNVBAMMFGVudm95YXNzZXJ0LXN0YW5k
LWluMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPYntphiQWKX/WC9lHn++3K4a
bNN8n4/Ba9gDqwqItaYunFQu/XO25RR47EIzse6ayu/aE8FtVlFnPqe+rCzmhKNm
MGQwHQYDVR0OBBYEFD5yrABZ3cs1hemsRR2dQTmfSxl3MB8GA1UdIwQYMBaAFD5y
rABZ3cs1hemsRR2dQTmfSxl3MBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAMBgNVHRMB
Af8EAjAAMAoGCCqGSM49BAMCA0kAMEYCIQDeKn1R0rbHcotYzwXLq4Edf6KOGke0
DG5FAuzPvL1uWQIhALhnw3y0yTOUcgDDTrBRd547AsoSfAAmrJqmEQ8RurcN
-----END CERTIFICATE-----
"""
