"""The wire: fixed binary frames over authenticated TCP connections. No pickle, nowhere."""
