"""HTTP: the listening server, one request's path, discovery, lists, watches, tables, subresources and injected faults.

The top layer of the API server: may import any other package of `devcluster.apiserver`.
"""
