"""Style transfer: an image's pixels optimised (Gatys, Ecker and Bethge 2016). This project's study began with it."""
