"""What users ask for: projects, the rows that store them, the requests, and the pages.

The bottom layer: imports neither `provisioning` nor `controlpanel`. Inside, each package imports only those below it:
`admin → templatetags → pages → services → audit → access → models → domain → confidential`.
"""
