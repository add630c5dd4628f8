"""Images of results: contact sheets, error maps, the swipe panel."""
