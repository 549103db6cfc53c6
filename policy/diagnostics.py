"""Every diagnostic of policy: its code, its name, what it means and what to do. The one table.

Codes are permanent: they stand in status keys, in the API, in `weft docs CODE` and in people's notes. A code is never
given a second meaning; a test holds this table against what the code raises.

Hundreds: 00 reading a file, 01 the head of a document, 02 its fields, 03 what it means beside the other documents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from policy.records import Problem

MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of diagnostic. `name` is for programs inside, `code` for everybody else."""

    code: str
    name: str
    meaning: str
    fix: str


def _table(*rows: tuple[str, str, str, str]) -> dict[str, Code]:
    return {name: Code("WEFT" + number, name, meaning, fix) for number, name, meaning, fix in rows}


CODES = _table(
    ("0001", "not_utf8", "The bytes are not UTF-8 text.", "Save the file as UTF-8."),
    ("0002", "too_large", "A document is larger than 256 kB.", "Split it into several documents."),
    ("0003", "not_yaml", "The text is not YAML.", "Correct the line that is named; JSON is YAML too."),
    ("0004", "too_deep", "Lists and maps are nested more than 32 deep.", "Flatten the document."),
    ("0005", "too_many_values", "Aliases expand to too many values.", "Write the values out instead of using aliases."),
    ("0006", "duplicate_key", "A map says the same key twice.", "Remove one of the two."),
    ("0007", "key_not_string", "A map has a key that is not a string.", "Quote the key."),
    (
        "0008",
        "several_documents",
        "One key holds several documents.",
        "Store each under its own key; `weft apply` does so.",
    ),
    (
        "0009",
        "empty",
        "There is no document in it.",
        "Write apiVersion, kind and spec; delete the key to take it back.",
    ),
    ("0010", "yaml_tag", "A YAML tag or merge key is used, and Weft knows none.", "Write the value plainly."),
    ("0011", "unreadable_file", "A file cannot be read.", "Give the process the right to read it."),
    ("0101", "api_version", "apiVersion is not weft/v1.", "Write `apiVersion: weft/v1`."),
    ("0102", "unknown_kind", "The kind is not one of Weft's.", "See DOCUMENTS for the kinds there are."),
    (
        "0103",
        "kind_not_enforced",
        "The kind is known and no engine enforces it yet.",
        "Remove the document until one does.",
    ),
    (
        "0104",
        "kind_disagrees",
        "The document's kind is not the one in its key.",
        "Make both the same; the key has it in lower case.",
    ),
    (
        "0105",
        "name_disagrees",
        "metadata.name is not the name in the key.",
        "Make both the same, or leave metadata out.",
    ),
    (
        "0106",
        "namespace_disagrees",
        "metadata.namespace is not the one in the key.",
        "Make both the same, or leave it out.",
    ),
    (
        "0107",
        "bad_key",
        "A key below policy/ is not one of a document.",
        "Use policy/<namespace>/<kind in lower case>/<name>.",
    ),
    ("0108", "name_missing", "A document in a file has no metadata.name.", "Give it one: it becomes part of its key."),
    ("0109", "wrong_namespace", "This kind or field lives in the namespace mesh.", "Move it to the namespace mesh."),
    (
        "0110",
        "named_twice",
        "Two documents in the files have the same kind, namespace and name.",
        "Rename or remove one.",
    ),
    ("0201", "unknown_field", "A field that does not exist.", "Correct its name; the message suggests the nearest."),
    ("0202", "missing_field", "A field that is required is missing.", "Add it."),
    ("0203", "wrong_type", "A value of another type than expected.", "Write what the message says was expected."),
    ("0204", "quote_it", "A string is expected and YAML reads this as something else.", "Put the value in quotes."),
    ("0205", "field_not_enforced", "The field is known and no engine enforces it yet.", "Remove it until one does."),
    ("0206", "unknown_word", "A word that is not one of those allowed here.", "Use one of those the message lists."),
    ("0207", "out_of_range", "A number, a length or a count outside its bounds.", "Stay within what the message says."),
    ("0208", "bad_duration", "Not a length of time.", "Write a number and a unit: 250ms, 15s, 5m, 1h."),
    ("0209", "bad_percentage", "Not a percentage.", "Write 0% to 100%."),
    ("0210", "bad_size", "Not a size.", "Write a number and a unit: 64kB, 10MB, 1MiB."),
    ("0211", "bad_name", "Not a name.", "Use 1 to 63 lower-case letters, digits and hyphens."),
    ("0212", "bad_target", "Not a service or caller.", "Write web, shop/web, shop/*, *, gateway:edge or spiffe://…"),
    (
        "0213",
        "bad_regex",
        "Not a regular expression that every part of Weft understands.",
        "Avoid look-around and back-references.",
    ),
    ("0214", "bad_path", "Not a path to match.", "Start it with / and write it as it is after normalisation."),
    (
        "0215",
        "bad_header",
        "Not the name or value of a header.",
        "Use letters, digits and hyphens; values on one line.",
    ),
    ("0216", "bad_method", "Not an HTTP method.", "Write it in upper case, as in GET."),
    ("0217", "bad_host", "Not a host to match.", "Write shop.example.com, *.example.com or *."),
    ("0218", "bad_network", "Not a network.", "Write an address with its prefix length, such as 10.0.0.0/8."),
    (
        "0219",
        "exclusive_fields",
        "Fields that cannot stand together, or of which exactly one is needed.",
        "Keep one of them.",
    ),
    ("0220", "repeated", "The same name, port or word twice in a list.", "Remove or rename one."),
    ("0221", "reserved_header", "A header that only an engine sets.", "Leave it out: engines set or strip it."),
    ("0222", "unknown_listener", "redirect_to names no other listener of the gateway.", "Name one of the listeners."),
    ("0223", "bad_rate", "Not a rate.", "Write a whole number and s, m or h: 50/s, 1000/h."),
    ("0224", "bad_moment", "Not a moment in time.", 'Write it in quotes, with its zone: "2027-01-15T18:00:00Z".'),
    (
        "0301",
        "shadowed",
        "An older document already says this for the same target.",
        "Delete one of the two, or merge them.",
    ),
    (
        "0302",
        "matches_nothing",
        "The document names a service that nobody has registered.",
        "Nothing, if the service is to come.",
    ),
    (
        "0303",
        "unknown_gateway",
        "A Route names a gateway without a Gateway document.",
        "Apply the Gateway, or correct the name.",
    ),
    (
        "0304",
        "unknown_target",
        "A rule sends requests to a service that nobody has registered.",
        "Nothing, if it is to come.",
    ),
    (
        "0305",
        "closed",
        "A broken Access that never was good closes its service.",
        "Correct it; allow rules of others still hold.",
    ),
    ("0306", "unprotected", "A broken Access whose target cannot be read protects nothing.", "Correct it at once."),
    (
        "0307",
        "incomplete",
        "The set this document was applied with was not finished in time.",
        "Run `weft apply` again.",
    ),
    (
        "0308",
        "unknown_label",
        "No instance of the service carries a label of this name.",
        "Nothing, if they are to come.",
    ),
    (
        "0309",
        "never_matches",
        "Something about requests, said of a tcp service: its bytes are none. Or about connections, said of requests.",
        "Say of a tcp service who calls it and where connections lead; or take it away.",
    ),
    (
        "0310",
        "too_far_ahead",
        "A Fault's end is more than seven days ahead when it is compiled.",
        "Write an earlier `until`, and apply it again when that has passed.",
    ),
    ("0311", "ended", "A Fault's `until` has passed: it breaks nothing any more.", "Delete it."),
    (
        "0312",
        "failover_loop",
        "A service fails over to itself.",
        "Take it out of the list. Services may fail over to each other.",
    ),
    (
        "0313",
        "other_protocol",
        "A service fails over to one that carries bytes where it takes requests, or the other way round.",
        "Name a service that speaks the same.",
    ),
)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong or worth knowing. Lines and columns count from 1; 0 means the document as a whole.

    `path` is as in `spec.rules[0].timeout`; `file` is given by whoever read one.
    """

    code: Code
    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    file: str = ""

    def problem(self) -> Problem:
        """As stored in a status: what quotes a very long value is cut."""
        return Problem(self.line, self.column, self.path[:MAX_TEXT], self.code.code, self.message[:MAX_TEXT])

    def located(self, *, file: str, lines_before: int) -> Diagnostic:
        """The same, seen from a file in which the document starts after so many lines."""
        return replace(self, file=file, line=self.line + lines_before if self.line else lines_before + 1)

    def __str__(self) -> str:
        where = ":".join(filter(None, [self.file, *(map(str, (self.line, self.column)) if self.line else ())]))
        return ": ".join(filter(None, [where, self.path, f"{self.message} [{self.code.code}]"]))


def diagnostic(name: str, message: str, *, path: str = "", line: int = 0, column: int = 0) -> Diagnostic:
    """A diagnostic by the name of its code."""
    return Diagnostic(CODES[name], message, path, line, column)


def explain(code: str) -> Code | None:
    """The table's row for `WEFT0201` (or `0201`), or None."""
    wanted = code.upper().removeprefix("WEFT")
    return next((row for row in CODES.values() if row.code == "WEFT" + wanted), None)
