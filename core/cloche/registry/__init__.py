"""How the hosts of one user on one machine find each other: records of sandboxes, doors to their hosts, a keeper."""
