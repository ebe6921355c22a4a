"""The wire: fixed binary frames over authenticated TCP connections. No pickle, nowhere.

From below: `strict`, `frames`, `tcp`; `sending` and `receiving`, which `channel` puts together;
`tls`, `handshake`; and `connect`, which makes a channel of a connection. Nothing here knows of
models, stages or torch. A new kind of frame goes to `frames`, a new check to where bytes are read.
"""
