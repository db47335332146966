"""Controllers: the KubeBlocks stand-in with its OpsRequests and failure scenarios, and the StatefulSet controller.

May import `node` (which runs PostgreSQL), `client`, and the quantities of `apiserver.schema`.
"""
