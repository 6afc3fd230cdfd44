"""The engine on Redis 7 or newer, and on Valkey: standalone, Sentinel and Cluster; any number of equal replicas."""
