"""Prints which operation needs which permission, rank and token scope."""

from rich.console import Console
from rich.table import Table

from loadstone.http.app import all_routes


def main() -> None:
    table = Table("Operation", "Permission", "Who", "Token scope", "Changes", "About", box=None, pad_edge=False)
    rows = []
    for route in all_routes():
        needs = route.opt["permission"]
        for path in sorted(route.paths):
            for method in sorted(route.http_methods - {"OPTIONS"}):
                changes = "yes" if needs.changes else ""
                rows.append((path, method, needs.name, needs.rank.name.lower(), needs.scope, changes, needs.object))
    for path, method, *rest in sorted(rows):
        table.add_row(f"{method:<6} {path}", *rest)
    Console().print(table)


if __name__ == "__main__":
    main()
