// vitest wants a file to begin with. The tests that warm-worker.ts runs are told to it, one mutant after another.
export {}
