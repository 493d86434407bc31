"""The pictures of a page."""


def page_images(page: str) -> list[str]:
    """The sources of all images on a page, for checks that it needs no other file."""
    return [part.partition('"')[0] for part in page.split('src="')[1:]]
