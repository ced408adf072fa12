"""`churn receive`: postbacks of measurement platforms, taken as they happen.

A request is answered with 2xx only when its postback is on the disk. One module per
concern: ``access`` (secrets), ``postback`` (a request as lines), ``journal`` (lines on
the disk), ``publishing`` (whole files where ingest finds them), ``limits``, ``metrics``
and ``server``. The README beside this file is the guide for operators.
"""

from churn.receive.server import serve

__all__ = ["serve"]
