//! Executes the runtime natively: build, replay, validate, call.
