"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """A mistake of the user's: one line that says the value, the place and the mend.

    `main.py` prints it without a traceback and exits with status 2. Everything else
    that is raised is a defect of ours and keeps its traceback.
    """


class Preempted(Exception):  # noqa: N818  as KeyboardInterrupt, no error
    """SIGTERM has stopped the training, which is saved: one line that says where.

    `main.py` prints it and exits with status 143, as a process that the signal ends.
    """
