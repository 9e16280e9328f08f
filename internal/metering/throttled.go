package metering

import "github.com/statordb/stator/internal/throttle"

// ThrottledError says which limits throttled a request.
type ThrottledError struct {
	Account, Region, Table string

	Index       string // GSI; "" for the table
	Direction   throttle.Direction
	Limits      throttle.Limit
	Provisioned bool // the table or GSI has provisioned throughput
}

// Error implements error.
func (e *ThrottledError) Error() string { return "metering: throttled" }

var (
	directionNames = [...]string{throttle.Reads: "Read", throttle.Writes: "Write"}
	limitNames     = [...]string{"ProvisionedThroughput", "KeyRangeThroughput", "MaxOnDemandThroughput", "AccountLimit"}
)

// Reasons returns the reasons in the form of AWS's ThrottlingReason ("ThrottlingReason").
func (e *ThrottledError) Reasons() []string {
	of := "Table"
	if e.Index != "" {
		of = "Index"
	}
	var out []string
	for bit, name := range limitNames {
		if e.Limits&(1<<bit) != 0 {
			out = append(out, of+directionNames[e.Direction]+name+"Exceeded")
		}
	}
	return out
}
