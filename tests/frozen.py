"""Imported last by the process that others are forked from: what it holds is looked at no more.

Lightning collects garbage after each training, which looks at everything that was imported and has
its memory copied in each fork.
"""

import gc

gc.collect()
gc.freeze()
