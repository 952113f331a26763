"""The console: jobs, searches, endpoints and models in a browser, live, or exported as a folder of static pages.

A page reads views of `breedclf.overview` and turns them into fragments of HTML; the server sends a page as a whole, and
then, while it is open, the fragments that change.
"""
