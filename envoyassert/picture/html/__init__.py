"""A run as one page that needs nothing but itself: `page` makes it, `data` is for its script.

Styles, script and data are in the page. What it says without its script is all but the timeline.
"""
