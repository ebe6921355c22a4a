"""The wire: fixed binary frames over authenticated TCP. No pickle.

From below: `strict`, `frames`, `tcp`; `sending` and `receiving`, joined in `channel`; `tls`,
`handshake`; `connect`, which makes channels. Imports no models, stages or torch. A new kind of
frame goes to `frames`, a new check to where bytes are read.
"""
