# The image, and the manifests of deploy/ (docs/deploy.md).
IMAGE ?= controlpanel:0.2.0

.PHONY: image manifests test-deploy

image: ## Build the container image (IMAGE=registry/name:tag)
	docker build -f deploy/Dockerfile -t $(IMAGE) .

manifests: ## Print what deploy/example installs (needs kubectl, no cluster)
	@kubectl kustomize deploy/example

test-deploy: setup-dev ## Check image and manifests, offline
	@$(BIN)/python -m pytest --ds=tests.settings tests/deploy $(PYTEST_ARGS)
