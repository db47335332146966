"""What people ask for, the rows that hold it, and the pages on which they ask.

The bottom layer: imports neither `provisioning` nor `controlpanel`. Inside, each package imports only those below it:
`admin → templatetags → pages → services → audit → access → models → domain → confidential`.
"""
