package api

import (
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// NoInput is the input of operations without one.
type NoInput struct{}

// Read implements smithy.Shape.
func (*NoInput) Read(r *wirejson.Reader) bool {
	if !r.BeginObject("") {
		return false
	}
	for _, ok := r.NextField(); ok; _, ok = r.NextField() {
		r.Skip()
	}
	return r.Err() == nil
}

// Check implements smithy.Shape.
func (*NoInput) Check(*smithy.Checker) {}
