# Figures: what they measure and how stands in docs/performance.md.
.PHONY: bench

bench: setup-dev ## Measure everything (BENCH_ARGS="latency --waiting 300" for one; `bin/python -m bench --help`)
	@$(BIN)/python -m bench $(or $(BENCH_ARGS),all)
