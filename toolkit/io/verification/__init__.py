"""Checks of files before they are used: hashes, intact content, stated sizes, trusted plugins."""
