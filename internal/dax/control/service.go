// Package control is the control plane of DynamoDB Accelerator: clusters, parameter groups, subnet groups, events and tags, with AWS's
// API.
//
// A cluster is one node of package dax/node, whatever its replication factor says: DescribeClusters lists that many nodes, all with the
// same endpoint. Networks, roles and node types are recorded and returned but have no effect. Parameter groups do have one: they
// set the TTLs of the caches.
//
// Descriptions live in package registry, so they survive restarts and are the same on all servers of a store. Listeners are opened and
// closed through the interface Nodes only. A change that takes AWS minutes is over after Options.TransientStatus.
//
// Sources: "Amazon DynamoDB Accelerator (DAX)", API Reference; "Managing DAX clusters".
package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/api"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// ID names a cluster, group or event within an account and region.
type ID = registry.ID

// Spec is what a node needs to know of its cluster.
type Spec struct {
	ID
	Nodes []string // names of the nodes
	Role  string   // the ARN of the role that reads and writes tables
	TLS   bool
	// Port is the port at which the node listened before; 0 for a new node.
	Port int
	// First says that the cluster uses the node that the server always has.
	First             bool
	ItemTTL, QueryTTL time.Duration
}

// Address is where a node listens.
type Address struct {
	Scheme, Host string
	Port         int
	First        bool // it is the node that the server always has
	Any          bool // it listens at all addresses, so clients reach it at the host at which they reach the server
}

// URL returns the address in the form that clients accept.
func (a Address) URL() string {
	return a.Scheme + "://" + net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// ErrNoTLS is the error for a TLS node on a server without a certificate.
var ErrNoTLS = errors.New("this server has no certificate for DAX")

// Nodes opens and closes the nodes behind clusters.
type Nodes interface {
	// Open makes a node listen.
	Open(Spec) (Address, error)
	// Change tells a node of a change of its cluster.
	Change(Spec)
	// Reboot empties a node's caches.
	Reboot(ID)
	// Close closes a node.
	Close(ID)
	// Address returns where a cluster's node listens, or false if it doesn't on this server.
	Address(ID) (Address, bool)
}

// Options configure a Service.
type Options struct {
	Records registry.Storage
	Now     func() time.Time
	// Namespace returns the account and region whose clusters a caller manages.
	Namespace func(smithy.Caller) (account, region string)
	Nodes     Nodes
	// TransientStatus is how long clusters stay in the statuses creating, modifying and deleting.
	TransientStatus time.Duration
	// ItemTTL and QueryTTL are the values of the default parameter group.
	ItemTTL, QueryTTL time.Duration
}

// Service executes the operations of DAX's control plane.
type Service struct {
	Options

	mu         sync.Mutex // held during every change
	clusters   *registry.Set[daxCluster]
	parameters *registry.Set[parameterGroup]
	subnets    *registry.Set[subnetGroup]
	events     *registry.Set[event]
	eventCount int // number of events that this process has recorded; makes their names unique
}

// New returns a Service with the descriptions that the store has.
func New(ctx context.Context, opt Options) (*Service, error) {
	s := &Service{Options: opt}
	var errs [4]error
	s.clusters, errs[0] = registry.Open[daxCluster](ctx, opt.Records, registry.DAXClusters)
	s.parameters, errs[1] = registry.Open[parameterGroup](ctx, opt.Records, registry.DAXParameterGroups)
	s.subnets, errs[2] = registry.Open[subnetGroup](ctx, opt.Records, registry.DAXSubnetGroups)
	s.events, errs[3] = registry.Open[event](ctx, opt.Records, registry.DAXEvents)
	return s, errors.Join(errs[:]...)
}

// Resume makes the nodes of all clusters listen again, at their former ports where those are still free. Its error names the clusters
// for which that fails; they are described without an endpoint.
func (s *Service) Resume(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.clusters.All()
	slices.SortFunc(all, func(a, b *daxCluster) int { return cmp.Compare(a.Created, b.Created) })
	var failed []error
	for _, c := range all {
		at, err := s.Nodes.Open(s.spec(c))
		if err == nil && (at.Port != c.Port || at.First != c.First) {
			_, err = s.clusters.Change(ctx, c.ID, func(c *daxCluster) error { c.Port, c.First = at.Port, at.First; return nil })
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("cluster %s: %w", c.Name, err))
		}
	}
	return errors.Join(failed...)
}

// Codes of DAX's errors.
const (
	clusterExists        awserr.Code = "ClusterAlreadyExistsFault"
	clusterNotFound      awserr.Code = "ClusterNotFoundFault"
	invalidARN           awserr.Code = "InvalidARNFault"
	invalidCombination   awserr.Code = "InvalidParameterCombinationException"
	invalidState         awserr.Code = "InvalidClusterStateFault"
	invalidGroupState    awserr.Code = "InvalidParameterGroupStateFault"
	invalidValue         awserr.Code = "InvalidParameterValueException"
	nodeNotFound         awserr.Code = "NodeNotFoundFault"
	nodesOfCluster       awserr.Code = "NodeQuotaForClusterExceededFault"
	nodesOfCustomer      awserr.Code = "NodeQuotaForCustomerExceededFault"
	groupExists          awserr.Code = "ParameterGroupAlreadyExistsFault"
	groupNotFound        awserr.Code = "ParameterGroupNotFoundFault"
	groupQuota           awserr.Code = "ParameterGroupQuotaExceededFault"
	subnetGroupExists    awserr.Code = "SubnetGroupAlreadyExistsFault"
	subnetGroupInUse     awserr.Code = "SubnetGroupInUseFault"
	subnetGroupNotFound  awserr.Code = "SubnetGroupNotFoundFault"
	subnetGroupQuota     awserr.Code = "SubnetGroupQuotaExceededFault"
	subnetQuota          awserr.Code = "SubnetQuotaExceededFault"
	invalidSubnet        awserr.Code = "InvalidSubnet"
	tagNotFound          awserr.Code = "TagNotFoundFault"
	tagQuota             awserr.Code = "TagQuotaPerResourceExceeded"
	insufficientCapacity awserr.Code = "InsufficientClusterCapacityFault"
)

// Quotas ("Quotas in Amazon DynamoDB", DynamoDB Accelerator). AWS applies them per account and Region. Here they apply per account: a
// Region is any name that a client chooses, and the clusters of all Regions take ports and memory of one server.
const (
	maxNodesOfCluster  = 10
	maxNodesOfCustomer = 50
	maxParameterGroups = 20
	maxSubnetGroups    = 50
	maxSubnets         = 20
	maxTags            = 50
)

const (
	// maxEvents is how many events are kept per account.
	maxEvents = 1000
	// maxText bounds the texts that one request records, in bytes together. AWS doesn't document its bound.
	maxText = 16 << 10
)

// checkText fails if a request records more than maxText.
func checkText(texts ...string) error {
	size := 0
	for _, t := range texts {
		size += len(t)
	}
	if size > maxText {
		return invalid("The texts of the request have %d bytes together, more than the allowed %d.", size, maxText)
	}
	return nil
}

// of counts the records of an account.
func of[T any](all []*T, account string, id func(*T) ID) (n int) {
	for _, v := range all {
		if id(v).Account == account {
			n++
		}
	}
	return n
}

// API describes the control plane to package httpd.
var API = &protocol.Service{
	Name:        "AmazonDAXV3",
	SigningName: "dax",
	ContentType: "application/x-amz-json-1.1",
	Errors:      map[awserr.Code]protocol.ErrorInfo{},
}

// Operations returns all operations, sorted by name.
func (s *Service) Operations() []smithy.Handler {
	list := []smithy.Handler{
		smithy.Bind(api.CreateCluster, s.createCluster),
		smithy.Bind(api.CreateParameterGroup, s.createParameterGroup),
		smithy.Bind(api.CreateSubnetGroup, s.createSubnetGroup),
		smithy.Bind(api.DecreaseReplicationFactor, s.decreaseReplicationFactor),
		smithy.Bind(api.DeleteCluster, s.deleteCluster),
		smithy.Bind(api.DeleteParameterGroup, s.deleteParameterGroup),
		smithy.Bind(api.DeleteSubnetGroup, s.deleteSubnetGroup),
		smithy.Bind(api.DescribeClusters, s.describeClusters),
		smithy.Bind(api.DescribeDefaultParameters, s.describeDefaultParameters),
		smithy.Bind(api.DescribeEvents, s.describeEvents),
		smithy.Bind(api.DescribeParameterGroups, s.describeParameterGroups),
		smithy.Bind(api.DescribeParameters, s.describeParameters),
		smithy.Bind(api.DescribeSubnetGroups, s.describeSubnetGroups),
		smithy.Bind(api.IncreaseReplicationFactor, s.increaseReplicationFactor),
		smithy.Bind(api.ListTags, s.listTags),
		smithy.Bind(api.RebootNode, s.rebootNode),
		smithy.Bind(api.TagResource, s.tagResource),
		smithy.Bind(api.UntagResource, s.untagResource),
		smithy.Bind(api.UpdateCluster, s.updateCluster),
		smithy.Bind(api.UpdateParameterGroup, s.updateParameterGroup),
		smithy.Bind(api.UpdateSubnetGroup, s.updateSubnetGroup),
	}
	for i := range list {
		list[i].Service, list[i].Settles = API.Name, true
	}
	return access.Guard(list, "dax:", s.Now, s.questions)
}

// fault returns an error with a code.
func fault(code awserr.Code, format string, args ...any) error {
	return awserr.New(code, fmt.Sprintf(format, args...))
}

// invalid returns an InvalidParameterValueException.
func invalid(format string, args ...any) error { return fault(invalidValue, format, args...) }

// id returns the ID for a name in a request. Names in DAX are lower case.
func (s *Service) id(call *smithy.Call, name string) ID {
	account, region := s.Namespace(call.Caller)
	return ID{Account: strings.Clone(account), Region: strings.Clone(region), Name: strings.Clone(strings.ToLower(name))}
}

// Missing returns the targets of operations in AWS's model that this package lacks.
func (s *Service) Missing() []string { return smithy.Missing(api.DAXOperations, s.Operations()) }

// checkName checks the name of a cluster or group. Only the longer names of groups may contain dots.
func checkName(what, name string, most int) error {
	ok := name != "" && len(name) <= most && isLetter(name[0]) && !strings.HasSuffix(name, "-") && !strings.Contains(name, "--")
	for i := 0; i < len(name) && ok; i++ {
		ok = isLetter(name[i]) || name[i] >= '0' && name[i] <= '9' || name[i] == '-' || name[i] == '.' && most > maxClusterName
	}
	if !ok {
		return invalid("The parameter %s is not valid: %q must have 1 to %d letters, digits or hyphens, begin with a letter, and neither end with a hyphen nor have two in a row.", what, name, most)
	}
	return nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

const (
	maxClusterName = 20
	maxGroupName   = 255
)

// page sorts a list by name and returns the part behind the token, at most limit elements. next is the token of the following page.
func page[T any](all []T, name func(T) string, limit smithy.Opt[int64], token smithy.Opt[string]) (out []T, next smithy.Opt[string], err error) {
	most := int64(100)
	if limit.Set {
		if most = limit.Value; most < 20 || most > 100 {
			return nil, next, invalid("MaxResults must be between 20 and 100.")
		}
	}
	slices.SortFunc(all, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	out, next = smithy.Page(smithy.After(all, token, name), most, name)
	return out, next, nil
}

// event is something that happened to a cluster or group.
type event struct {
	ID
	Source, Type, Message string
	Date                  int64 // milliseconds since 1970
}

// Types of event sources.
const (
	sourceCluster    = "CLUSTER"
	sourceParameters = "PARAMETER_GROUP"
	sourceSubnets    = "SUBNET_GROUP"
)

// eventLife is how long events are kept ("DescribeEvents").
const eventLife = 14 * 24 * time.Hour

// recordEvent records an event. At maxEvents it replaces the account's oldest one. The caller holds mu.
func (s *Service) recordEvent(ctx context.Context, id ID, source, kind, message string) error {
	s.eventCount++
	at := s.Now().UnixMilli()
	own := slices.DeleteFunc(s.events.All(), func(e *event) bool { return e.Account != id.Account })
	if len(own) >= maxEvents {
		oldest := slices.MinFunc(own, func(a, b *event) int { return strings.Compare(a.Name, b.Name) })
		if err := s.events.Remove(ctx, oldest.ID); err != nil {
			return err
		}
	}
	e := &event{ID: ID{Account: id.Account, Region: id.Region, Name: fmt.Sprintf("%015d-%06d", at, s.eventCount)}, Source: source, Type: kind, Message: message, Date: at}
	return s.events.Put(ctx, e.ID, e)
}

// Sweep removes events older than eventLife.
func (s *Service) Sweep(ctx context.Context) error {
	before := s.Now().Add(-eventLife).UnixMilli()
	for _, e := range s.events.All() {
		if e.Date < before {
			if err := s.events.Remove(ctx, e.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// describeEvents lists the events of a time range, the last hour by default.
func (s *Service) describeEvents(_ context.Context, call *smithy.Call, in *api.DescribeEventsRequest) (*api.DescribeEventsResponse, error) {
	now := s.Now()
	from, to := now.Add(-time.Hour), now
	if in.Duration.Set && (in.StartTime.Set || in.EndTime.Set) {
		return nil, fault(invalidCombination, "Duration can't be given together with StartTime or EndTime.")
	}
	if in.Duration.Set {
		if in.Duration.Value < 1 || time.Duration(in.Duration.Value)*time.Minute > eventLife {
			return nil, invalid("Duration must be between 1 and %d minutes.", int(eventLife.Minutes()))
		}
		from = now.Add(-time.Duration(in.Duration.Value) * time.Minute)
	}
	at := func(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)) }
	if in.EndTime.Set {
		to = at(in.EndTime.Value)
		from = to.Add(-time.Hour)
	}
	if in.StartTime.Set {
		from = at(in.StartTime.Value)
	}
	if from.After(to) {
		return nil, invalid("StartTime must not be later than EndTime.")
	}
	id := s.id(call, "")
	all := slices.DeleteFunc(s.events.List(id.Account, id.Region), func(e *event) bool {
		return e.Date < from.UnixMilli() || e.Date > to.UnixMilli() || in.SourceName.Set && e.Source != in.SourceName.Value || in.SourceType.Set && e.Type != in.SourceType.Value
	})
	some, next, err := page(all, func(e *event) string { return e.Name }, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeEventsResponse{NextToken: next, Events: []api.Event{}}
	for _, e := range some {
		out.Events = append(out.Events, api.Event{
			SourceName: smithy.Some(e.Source), SourceType: smithy.Some(e.Type), Message: smithy.Some(e.Message), Date: smithy.Some(float64(e.Date) / 1000),
		})
	}
	return out, nil
}
