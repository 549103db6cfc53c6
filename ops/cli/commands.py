"""Every command there is: its name, where it is, and the line that `weft --help` says of it. Nothing else is loaded for that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """`target` is `module:attribute`; the attribute is a click command."""

    target: str
    help: str


COMMANDS = {
    "dev": Command("ops.cli.dev:dev", "Start a mesh on this machine, until Ctrl-C."),
    "demo": Command("ops.cli.demo:demo", "The same with sample services; --check proves that it works."),
    "run": Command("ops.cli.run:run_program", "Put a program into the mesh for as long as it runs."),
    "apply": Command("ops.cli.documents:apply", "Store documents; those that are unchanged stay untouched."),
    "get": Command("ops.cli.listing:get", "List services, instances, hosts, certificates or documents."),
    "delete": Command("ops.cli.documents:delete", "Take documents back."),
    "diff": Command("ops.cli.documents:diff", "Show what apply would change."),
    "validate": Command("ops.cli.documents:validate", "Check documents without a mesh."),
    "wait": Command("ops.cli.rollout:wait", "Wait until a revision is live on every host."),
    "status": Command("ops.cli.rollout:status", "What is not well; exits 1 if anything is not."),
    "engine": Command("ops.cli.engine:engine", "Replace a running engine; no connection is lost."),
    "tap": Command("ops.cli.tap:tap", "Show requests as they end, with the reason of each failure."),
    "explain": Command("ops.cli.explain:explain", "What would become of a request, and why."),
    "replay": Command("ops.cli.replay:replay", "Which recorded requests would fare otherwise; exits 1 if any."),
    "token": Command("ops.cli.identity:token", "Make tokens with which hosts join."),
    "ca": Command("ops.cli.identity:ca", "Make certificate authorities, sign, rotate roots, revoke."),
    "host": Command("ops.cli.roots:host", "Take hosts out of the mesh."),
    "adopt": Command("ops.cli.adopt:adopt", "Let a stopped host or controller belong to another mesh."),
    "agent": Command("ops.cli.daemons:agent", "Run a host's agent."),
    "gateway": Command("ops.cli.daemons:gateway", "Run a gateway's agent."),
    "controller": Command("ops.cli.daemons:controller", "Run a controller."),
    "dump": Command("ops.cli.dump:dump", "Print a key of etcd, decoded."),
    "docs": Command("ops.cli.docs:docs", "Explain a code."),
    "completion": Command("ops.cli.docs:completion", "Print a shell's completion script."),
}
