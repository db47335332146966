# Breaking the panel on purpose: kinds, and how to add one, stand in docs/faults.md.
.PHONY: faults

faults: setup-dev ## Break it on purpose and check what is left (FAULT_RUNS=200 FAULT_SEED=1)
	@FAULT_MODEL_EXAMPLES=$(or $(FAULT_MODEL_EXAMPLES),500) $(BIN)/python -m pytest -q --no-header tests/faults/test_decision_model.py
	@$(BIN)/python -m tests.faults --runs $(or $(FAULT_RUNS),200) --seed $(or $(FAULT_SEED),1) $(FAULT_ARGS)
