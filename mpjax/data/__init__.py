"""Where do clips come from, what do records hold, and which of them may anything be fitted on?

Its modules are imported one by one (`from mpjax.data import records`): statistics need no decoder.
"""
