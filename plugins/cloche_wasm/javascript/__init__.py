"""JavaScript, and TypeScript made into it: an interpreter in WebAssembly, prepared once and copied for each run."""
