"""What only the service itself can tell, asked there: `python -m tests.aws`, or `make probe-aws`.

Restrike's tests run on stand-ins. Where AWS is said to differ, or where nobody says, a claim stands here: what is
expected of AWS, and what DynamoDB Local is known to do instead. Whoever has an account runs them there, on one small
table of their own, for less than a cent; `make test` runs the same claims against DynamoDB Local. It never runs by
itself.

    command.py     flags, the plan, the order of things, exit codes
    claim.py       what a claim is, and how it is judged
    claims/        the claims, a module for each subject
    statements.py  the very texts that a touch sends
    table.py       the probe's table: made, written to, removed
    stream.py      what its stream says
    leftovers.py   what a killed probe left
    telling.py     what people see of it
"""
