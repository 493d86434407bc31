"""Templates to HTML; what is written into one is escaped there."""


def render(template: str, **values: object) -> str:
    """A template of ``templates/`` with these values.

    Args:
        template: Name of its file.
        values: What it shows, by the names that it has for it; one that is missing is an error.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("attngan.pages")
    templates = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return templates.get_template(template).render(**values)
