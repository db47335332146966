# A real Kubernetes control plane for everyone who develops, and the contract suite (devcluster/docs/contract.md).
CONTRACT := $(BIN)/python -m pytest tests/contract
ASSETS := $(BIN)/python -m tests.contract.kube_assets

.PHONY: kube-assets test-contract test-contract-embedded test-contract-real replay-contract

kube-assets: setup-dev ## Build a real control plane (etcd, kube-apiserver, kube-controller-manager) into the cache, once
	@$(ASSETS)

test-contract: test-contract-embedded test-contract-real ## The contract on the embedded cluster, then on a real API server

test-contract-embedded: setup-dev
	env -u KUBEBUILDER_ASSETS -u CONTRACT_KUBECONFIG $(CONTRACT) $(PYTEST_ARGS)

# CONTRACT_KUBECONFIG or KUBEBUILDER_ASSETS name the server; without them it is what kube-assets built.
test-contract-real: setup-dev
	@if [ -n "$${CONTRACT_KUBECONFIG:-}$${KUBEBUILDER_ASSETS:-}" ]; then \
		$(CONTRACT) $(PYTEST_ARGS); \
	elif assets=$$($(ASSETS) --print-directory); then \
		KUBEBUILDER_ASSETS="$$assets" $(CONTRACT) $(PYTEST_ARGS); \
	else \
		echo "Skipped the contract on a real API server: none is at hand (make kube-assets builds one, KUBEBUILDER_ASSETS or CONTRACT_KUBECONFIG name one)."; \
	fi

replay-contract: kube-assets ## Send spoiled requests to the embedded cluster and a real one, and print where they differ
	@KUBEBUILDER_ASSETS="$${KUBEBUILDER_ASSETS:-$$($(ASSETS) --print-directory)}" $(BIN)/python -m tests.contract.replay $(ARGS)
