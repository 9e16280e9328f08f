package ops

import (
	"context"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// createCheckpointOperation is Stator's own operation for `stator backup`.
var createCheckpointOperation = smithy.Operation[checkpointInput, checkpointOutput]{Target: "Stator_20261101.CreateCheckpoint"}

// checkpointInput is empty.
type checkpointInput struct{}

// Read implements smithy.Shape.
func (*checkpointInput) Read(r *wirejson.Reader) bool {
	r.Skip()
	return r.Err() == nil
}

// Check implements smithy.Shape.
func (*checkpointInput) Check(*smithy.Checker) {}

// checkpointOutput holds the checkpoint's path relative to the data directory. The absolute path stays private.
type checkpointOutput struct{ directory string }

// AppendJSON implements smithy.Renderer.
func (v *checkpointOutput) AppendJSON(b []byte) []byte {
	b = append(b, `{"Directory":`...)
	return append(wirejson.AppendString(b, v.directory), '}')
}

// createCheckpoint makes a copy of the data directory with every acknowledged write; immutable files are hard-linked, not
// copied. The caller touches the directory while it copies it, and removes it afterwards.
func (s *Service) createCheckpoint(ctx context.Context, req *Request, _ *checkpointInput) (*checkpointOutput, error) {
	if err := access.AuthorizeOperator(req.Call, req.op.action()); err != nil {
		return nil, err
	}
	if s.Checkpoint == nil {
		return nil, awserr.Invalid("This server keeps nothing on disk")
	}
	dir, err := s.Checkpoint(ctx)
	if err != nil {
		return nil, clientError(err)
	}
	return &checkpointOutput{dir}, nil
}
