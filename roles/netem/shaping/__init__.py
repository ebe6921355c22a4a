"""The leases of shaped hosts, as whoever renews them and whoever relies on them sees them."""
