"""Hypothesis strategies for requests: every page with any path, query, form and header."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import strategies as st

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"


def routes(patterns: list[Any] | None = None, before: str = "/") -> Iterator[str]:
    """Yield the path of each URL pattern, with <name> for what a pattern matches."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = re.sub(r"\(\?P<(\w+)>.*?\)", r"<\1>", str(pattern.pattern)).strip("^$")
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, before + path)
        elif isinstance(pattern, URLPattern):
            yield before + path


text = st.text(max_size=40)
hard_values = st.sampled_from(
    ["", "\0", "\ud800", "%", "(", "(a+)+$", "1,2", "NaN", "-1", "0", "9" * 400, "_5F", "٣", "\r\n"]
    + [str(2**63), str(2**31), "1e400", "9999-12-31", "0000-00-00", "x" * 5000, "true", "None", "é"]
)
values = hard_values | text | st.sampled_from(["1", "2", "saloon", "Japan", "Toyota", "id", "make"])
pks = st.sampled_from(["1", "2", "3", "01", "+1", " 1", "1.0", "add", "1/change", "1/delete"])

# The names that pages read.
names = st.sampled_from(
    "q page sort origin body next _popup id pk make model year mileage price username password "
    "old_password new_password1 new_password2 usable_password groups user_permissions is_staff "
    "is_active date_joined_0 date_joined_1 name permissions action select_across index "
    "_selected_action _save _addanother _continue _saveasnew post csrfmiddlewaretoken term "
    "app_label model_name field_name".split()
)
controls = st.sampled_from(
    "p o q e all _to_field _to_field _to_field _popup _facets _changelist_filters".split()
)
# What the admin's lists must refuse, or survive: a list, a lookup in its URL, and a value.
lookups = st.sampled_from(
    [
        (path, f"{name}__{lookup}", value)
        for path, names in {
            b"/admin/cars/car/": ["make", "price", "body", "origin"],
            b"/admin/auth/user/": ["username", "password", "date_joined", "groups__id"],
            b"/admin/auth/group/": ["name"],
        }.items()
        for name in names
        for lookup in ["exact", "regex", "range", "in", "isnull", "date__year"]
        for value in ["(", "9", "1,2", "", "\0", "x"]
    ]
)


fields = st.lists(st.tuples(names | text, values), max_size=6)
controlled = st.lists(
    st.tuples(controls, st.sampled_from(["", "id", "make", "-1", "1.2.x", "\0", "9" * 400])),
    max_size=3,
)


def encoded(pairs: list[tuple[str, str]]) -> bytes:
    return urlencode(
        [(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass")) for a, b in pairs]
    ).encode()


def multipart(pairs: list[tuple[str, str]]) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in pairs
    ]
    return "".join([*parts, "--b--\r\n"]).encode("utf-8", "replace")


# More fields and more bytes than Django reads; by name, since Hypothesis prints what it has drawn.
LARGE = {
    "2,000 fields": (encoded([("a", "b")] * 2000), FORM),
    "2,000 parts": (multipart([("a", "b")] * 2000), MULTIPART),
    "3 MB": (b"make=" + b"x" * 3_000_000, FORM),
    "3 MB in a part": (multipart([("make", "x" * 3_000_000)]), MULTIPART),
}

raw = st.binary(max_size=60)
queries = fields.map(encoded) | raw
bodies = (
    st.tuples(fields.map(encoded) | raw, st.just(FORM))
    | st.tuples(fields.map(multipart) | raw, st.just(MULTIPART))
    | st.tuples(
        fields.map(encoded) | fields.map(multipart) | raw,
        st.sampled_from(
            [f"{FORM}; charset=utf-16", f"{FORM}; charset=nothing", "application/json", "text/xml"]
            + [f"{MULTIPART}; charset=utf-16", "multipart/form-data", "multipart/x; boundary=", "é"]
        ),
    )
    | st.sampled_from(list(LARGE))
)
headers = st.dictionaries(
    st.sampled_from(
        "HTTP_COOKIE HTTP_HOST HTTP_REFERER HTTP_ACCEPT HTTP_ACCEPT_LANGUAGE HTTP_USER_AGENT "
        "HTTP_X_FORWARDED_FOR HTTP_X_FORWARDED_PROTO HTTP_X_REQUESTED_WITH HTTP_ACCEPT_ENCODING "
        "HTTP_IF_MODIFIED_SINCE HTTP_IF_NONE_MATCH HTTP_RANGE HTTP_AUTHORIZATION "
        "HTTP_X_CSRFTOKEN HTTP_ORIGIN".split()
    ),
    st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=40)
    | st.sampled_from(["testserver", "1", "-1", "sessionid=x", "csrftoken=", "XMLHttpRequest"]),
    max_size=2,
)


@dataclass
class AnyRequest:
    """A request, as a server hands it to the site: `path` and `query` are raw bytes.

    `form` is a body with its content type, or the name of one in LARGE.
    """

    method: str
    path: bytes
    query: bytes
    form: tuple[bytes, str] | str = (b"", "")
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> tuple[bytes, str]:
        """The body and its content type."""
        return LARGE[self.form] if isinstance(self.form, str) else self.form


@st.composite
def paths(draw: st.DrawFn, pattern: str = "") -> bytes:
    """Draw the path of a page that `pattern` matches, with anything for its variable parts."""
    route = draw(st.sampled_from([route for route in routes() if re.search(pattern, route)]))
    return re.sub(r"<[^>]*>", lambda part: draw(pks | values), route).encode(
        "utf-8", "surrogatepass"
    )


@st.composite
def odd_paths(draw: st.DrawFn) -> bytes:
    """Draw a path that is near that of a page."""
    path = draw(paths())
    odd = [path + draw(raw), path.rstrip(b"/"), path + b"/", b"/" + path, path.upper()]
    return draw(st.sampled_from(odd))


def requests_for(
    paths: st.SearchStrategy[bytes], queries: st.SearchStrategy[bytes]
) -> st.SearchStrategy[AnyRequest]:
    return st.builds(
        AnyRequest,
        st.sampled_from(["GET"] * 6 + ["POST"] * 6 + METHODS),
        paths,
        queries,
        bodies,
        st.just({}) | headers,
    )


requests = st.one_of(
    requests_for(paths(), st.just(b"") | queries),
    requests_for(odd_paths(), st.just(b"") | queries),
    requests_for(paths(r"^/admin/\w+/\w+/$"), controlled.map(encoded)),
    st.builds(
        lambda asked, more: AnyRequest("GET", asked[0], encoded([asked[1:], *more])),
        lookups,
        controlled,
    ),
    requests_for(paths(r"^/admin/\w+/\w+/<"), controlled.map(encoded)),
)
