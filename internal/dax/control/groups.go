package control

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/dax/api"
	"github.com/statordb/stator/internal/smithy"
)

// DefaultParameterGroup is the parameter group that every account has. It can't be changed.
const DefaultParameterGroup = "default.dax1.0"

// DefaultSubnetGroup is the subnet group of clusters that name none.
const DefaultSubnetGroup = "default"

// Names of the parameters that AWS defines.
const (
	recordTTL = "record-ttl-millis"
	queryTTL  = "query-ttl-millis"
)

// parameterGroup is the TTLs of caches, under a name.
type parameterGroup struct {
	ID
	Description       string
	ItemTTL, QueryTTL int64 // milliseconds
	// Changed are the names of the parameters that a user has set.
	Changed []string
}

// ttls returns the group's TTLs as durations.
func (g *parameterGroup) ttls() (item, query time.Duration) {
	return time.Duration(g.ItemTTL) * time.Millisecond, time.Duration(g.QueryTTL) * time.Millisecond
}

// group returns a parameter group.
func (s *Service) group(id ID) (*parameterGroup, error) {
	if id.Name == DefaultParameterGroup {
		return &parameterGroup{
			ID: id, Description: "Default parameter group for dax1.0", ItemTTL: s.ItemTTL.Milliseconds(), QueryTTL: s.QueryTTL.Milliseconds(),
		}, nil
	}
	if g := s.parameters.Get(id); g != nil {
		return g, nil
	}
	return nil, fault(groupNotFound, "Parameter group %s not found.", id.Name)
}

// shape describes a parameter group.
func (g *parameterGroup) shape() *api.ParameterGroup {
	return &api.ParameterGroup{ParameterGroupName: smithy.Some(g.Name), Description: smithy.Some(g.Description)}
}

func (s *Service) createParameterGroup(ctx context.Context, call *smithy.Call, in *api.CreateParameterGroupRequest) (*api.CreateParameterGroupResponse, error) {
	if err := checkName("ParameterGroupName", in.ParameterGroupName.Value, maxGroupName); err != nil {
		return nil, err
	}
	if err := checkText(in.Description.Value); err != nil {
		return nil, err
	}
	id := s.id(call, in.ParameterGroupName.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(id); err == nil {
		return nil, fault(groupExists, "Parameter group %s already exists.", id.Name)
	}
	if of(s.parameters.All(), id.Account, func(g *parameterGroup) ID { return g.ID }) >= maxParameterGroups {
		return nil, fault(groupQuota, "You have exceeded the maximum number of parameter groups: %d.", maxParameterGroups)
	}
	g := &parameterGroup{ID: id, Description: in.Description.Value, ItemTTL: s.ItemTTL.Milliseconds(), QueryTTL: s.QueryTTL.Milliseconds()}
	if err := s.parameters.Put(ctx, id, g); err != nil {
		return nil, err
	}
	return &api.CreateParameterGroupResponse{ParameterGroup: g.shape()}, s.recordEvent(ctx, id, id.Name, sourceParameters, "Parameter group created.")
}

// users returns the names of the clusters that use a group, sorted.
func (s *Service) users(id ID, groupOf func(*daxCluster) string) (names []string) {
	for _, c := range s.clusters.List(id.Account, id.Region) {
		if groupOf(c) == id.Name && !s.gone(c) {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *Service) deleteParameterGroup(ctx context.Context, call *smithy.Call, in *api.DeleteParameterGroupRequest) (*api.DeleteParameterGroupResponse, error) {
	id := s.id(call, in.ParameterGroupName.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(id); err != nil {
		return nil, err
	}
	if err := s.checkFree(id); err != nil {
		return nil, err
	}
	if err := s.parameters.Remove(ctx, id); err != nil {
		return nil, err
	}
	return &api.DeleteParameterGroupResponse{DeletionMessage: smithy.Some("Parameter group " + id.Name + " has been deleted.")},
		s.recordEvent(ctx, id, id.Name, sourceParameters, "Parameter group deleted.")
}

// checkFree fails for a parameter group that may not be changed: the default one, and those in use.
func (s *Service) checkFree(id ID) error {
	if id.Name == DefaultParameterGroup {
		return fault(invalidGroupState, "The default parameter group %s cannot be modified or deleted.", id.Name)
	}
	if users := s.users(id, func(c *daxCluster) string { return c.ParameterGroup }); users != nil {
		return fault(invalidGroupState, "Parameter group %s is in use by: %s.", id.Name, strings.Join(users, ", "))
	}
	return nil
}

// updateParameterGroup changes TTLs. Only unused groups can be changed, so no node needs to know.
func (s *Service) updateParameterGroup(ctx context.Context, call *smithy.Call, in *api.UpdateParameterGroupRequest) (*api.UpdateParameterGroupResponse, error) {
	id := s.id(call, in.ParameterGroupName.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(id); err != nil {
		return nil, err
	}
	if err := s.checkFree(id); err != nil {
		return nil, err
	}
	g, err := s.parameters.Change(ctx, id, func(g *parameterGroup) error {
		for _, p := range in.ParameterNameValues {
			n, err := strconv.ParseInt(p.ParameterValue.Value, 10, 64)
			if err != nil || n < 0 || time.Duration(n) > time.Duration(1<<62)/time.Millisecond {
				return invalid("The value %q of parameter %s must be an integer, 0 or more.", p.ParameterValue.Value, p.ParameterName.Value)
			}
			switch p.ParameterName.Value {
			case recordTTL:
				g.ItemTTL = n
			case queryTTL:
				g.QueryTTL = n
			default:
				return invalid("Parameter %s does not exist.", p.ParameterName.Value)
			}
			if !slices.Contains(g.Changed, p.ParameterName.Value) {
				g.Changed = append(g.Changed, p.ParameterName.Value)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateParameterGroupResponse{ParameterGroup: g.shape()}, s.recordEvent(ctx, id, id.Name, sourceParameters, "Parameter group updated.")
}

func (s *Service) describeParameterGroups(_ context.Context, call *smithy.Call, in *api.DescribeParameterGroupsRequest) (*api.DescribeParameterGroupsResponse, error) {
	id := s.id(call, DefaultParameterGroup)
	byDefault, err := s.group(id)
	if err != nil {
		return nil, err
	}
	all := append(s.parameters.List(id.Account, id.Region), byDefault)
	if in.ParameterGroupNames != nil {
		all = nil
		for _, name := range in.ParameterGroupNames {
			g, err := s.group(s.id(call, name))
			if err != nil {
				return nil, err
			}
			all = append(all, g)
		}
	}
	some, next, err := page(all, func(g *parameterGroup) string { return g.Name }, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeParameterGroupsResponse{NextToken: next, ParameterGroups: []api.ParameterGroup{}}
	for _, g := range some {
		out.ParameterGroups = append(out.ParameterGroups, *g.shape())
	}
	return out, nil
}

// shapes describes the parameters of a group.
func (g *parameterGroup) shapes() []api.Parameter {
	one := func(name, description string, ms int64) api.Parameter {
		source := "system"
		if slices.Contains(g.Changed, name) {
			source = "user"
		}
		return api.Parameter{
			ParameterName: smithy.Some(name), ParameterType: smithy.Some("DEFAULT"), ParameterValue: smithy.Some(strconv.FormatInt(ms, 10)),
			NodeTypeSpecificValues: []api.NodeTypeSpecificValue{}, Description: smithy.Some(description), Source: smithy.Some(source),
			DataType: smithy.Some("integer"), AllowedValues: smithy.Some("0-"), IsModifiable: smithy.Some("TRUE"), ChangeType: smithy.Some("IMMEDIATE"),
		}
	}
	return []api.Parameter{
		one(queryTTL, "Duration in milliseconds for queries to remain cached", g.QueryTTL),
		one(recordTTL, "Duration in milliseconds for records to remain valid in cache (Default: 0 = infinite)", g.ItemTTL),
	}
}

func (s *Service) describeParameters(_ context.Context, call *smithy.Call, in *api.DescribeParametersRequest) (*api.DescribeParametersResponse, error) {
	g, err := s.group(s.id(call, in.ParameterGroupName.Value))
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(g.shapes(), func(p api.Parameter) bool { return in.Source.Set && p.Source.Value != in.Source.Value })
	some, next, err := page(all, func(p api.Parameter) string { return p.ParameterName.Value }, in.MaxResults, in.NextToken)
	return &api.DescribeParametersResponse{Parameters: some, NextToken: next}, err
}

func (s *Service) describeDefaultParameters(_ context.Context, call *smithy.Call, in *api.DescribeDefaultParametersRequest) (*api.DescribeDefaultParametersResponse, error) {
	g, err := s.group(s.id(call, DefaultParameterGroup))
	if err != nil {
		return nil, err
	}
	some, next, err := page(g.shapes(), func(p api.Parameter) string { return p.ParameterName.Value }, in.MaxResults, in.NextToken)
	return &api.DescribeDefaultParametersResponse{Parameters: some, NextToken: next}, err
}

// subnetGroup is where AWS would place clusters. It has no effect here.
type subnetGroup struct {
	ID
	Description string
	Subnets     []string
}

// vpc is the one network that all subnets claim to be in.
const vpc = "vpc-00000000000000000"

// zone returns the i-th availability zone of a region.
func zone(region string, i int) string { return region + string("abc"[i%3]) }

// shape describes a subnet group.
func (g *subnetGroup) shape() *api.SubnetGroup {
	out := &api.SubnetGroup{
		SubnetGroupName: smithy.Some(g.Name), Description: smithy.Some(g.Description), VpcId: smithy.Some(vpc), Subnets: []api.Subnet{},
		SupportedNetworkTypes: []string{"ipv4"},
	}
	for i, id := range g.Subnets {
		out.Subnets = append(out.Subnets, api.Subnet{
			SubnetIdentifier: smithy.Some(id), SubnetAvailabilityZone: smithy.Some(zone(g.Region, i)), SupportedNetworkTypes: []string{"ipv4"},
		})
	}
	return out
}

// subnetGroup returns a subnet group.
func (s *Service) subnetGroup(id ID) (*subnetGroup, error) {
	if g := s.subnets.Get(id); g != nil {
		return g, nil
	}
	if id.Name == DefaultSubnetGroup {
		return &subnetGroup{ID: id, Description: "Default CacheSubnetGroup", Subnets: []string{"subnet-00000000000000000", "subnet-00000000000000001", "subnet-00000000000000002"}}, nil
	}
	return nil, fault(subnetGroupNotFound, "Subnet group %s not found.", id.Name)
}

// checkSubnets checks a group's subnets and description. Any subnet id is accepted: there are no networks here.
func checkSubnets(description string, ids []string) error {
	if len(ids) > maxSubnets {
		return fault(subnetQuota, "You have exceeded the maximum number of subnets in a subnet group: %d.", maxSubnets)
	}
	for _, id := range ids {
		if !strings.HasPrefix(id, "subnet-") {
			return fault(invalidSubnet, "The subnet ID %q is invalid.", id)
		}
	}
	return checkText(append(ids, description)...)
}

func (s *Service) createSubnetGroup(ctx context.Context, call *smithy.Call, in *api.CreateSubnetGroupRequest) (*api.CreateSubnetGroupResponse, error) {
	if err := checkName("SubnetGroupName", in.SubnetGroupName.Value, maxGroupName); err != nil {
		return nil, err
	}
	if len(in.SubnetIds) == 0 {
		return nil, fault(invalidSubnet, "A subnet group must have a subnet.")
	}
	if err := checkSubnets(in.Description.Value, in.SubnetIds); err != nil {
		return nil, err
	}
	id := s.id(call, in.SubnetGroupName.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subnets.Get(id) != nil {
		return nil, fault(subnetGroupExists, "Subnet group %s already exists.", id.Name)
	}
	if of(s.subnets.All(), id.Account, func(g *subnetGroup) ID { return g.ID }) >= maxSubnetGroups {
		return nil, fault(subnetGroupQuota, "You have exceeded the maximum number of subnet groups: %d.", maxSubnetGroups)
	}
	g := &subnetGroup{ID: id, Description: in.Description.Value, Subnets: in.SubnetIds}
	if err := s.subnets.Put(ctx, id, g); err != nil {
		return nil, err
	}
	return &api.CreateSubnetGroupResponse{SubnetGroup: g.shape()}, s.recordEvent(ctx, id, id.Name, sourceSubnets, "Subnet group created.")
}

func (s *Service) updateSubnetGroup(ctx context.Context, call *smithy.Call, in *api.UpdateSubnetGroupRequest) (*api.UpdateSubnetGroupResponse, error) {
	if err := checkSubnets(in.Description.Value, in.SubnetIds); err != nil {
		return nil, err
	}
	id := s.id(call, in.SubnetGroupName.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.subnets.Change(ctx, id, func(g *subnetGroup) error {
		g.Description = in.Description.Or(g.Description)
		if in.SubnetIds != nil {
			g.Subnets = in.SubnetIds
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, fault(subnetGroupNotFound, "Subnet group %s not found.", id.Name)
	}
	return &api.UpdateSubnetGroupResponse{SubnetGroup: g.shape()}, s.recordEvent(ctx, id, id.Name, sourceSubnets, "Subnet group updated.")
}

func (s *Service) deleteSubnetGroup(ctx context.Context, call *smithy.Call, in *api.DeleteSubnetGroupRequest) (*api.DeleteSubnetGroupResponse, error) {
	id := s.id(call, in.SubnetGroupName.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subnets.Get(id) == nil {
		return nil, fault(subnetGroupNotFound, "Subnet group %s not found.", id.Name)
	}
	if users := s.users(id, func(c *daxCluster) string { return c.SubnetGroup }); users != nil {
		return nil, fault(subnetGroupInUse, "Subnet group %s is in use by: %s.", id.Name, strings.Join(users, ", "))
	}
	if err := s.subnets.Remove(ctx, id); err != nil {
		return nil, err
	}
	return &api.DeleteSubnetGroupResponse{DeletionMessage: smithy.Some("Subnet group " + id.Name + " has been deleted.")},
		s.recordEvent(ctx, id, id.Name, sourceSubnets, "Subnet group deleted.")
}

func (s *Service) describeSubnetGroups(_ context.Context, call *smithy.Call, in *api.DescribeSubnetGroupsRequest) (*api.DescribeSubnetGroupsResponse, error) {
	id := s.id(call, DefaultSubnetGroup)
	all := s.subnets.List(id.Account, id.Region)
	if s.subnets.Get(id) == nil {
		byDefault, err := s.subnetGroup(id)
		if err != nil {
			return nil, err
		}
		all = append(all, byDefault)
	}
	if in.SubnetGroupNames != nil {
		all = nil
		for _, name := range in.SubnetGroupNames {
			g, err := s.subnetGroup(s.id(call, name))
			if err != nil {
				return nil, err
			}
			all = append(all, g)
		}
	}
	some, next, err := page(all, func(g *subnetGroup) string { return g.Name }, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeSubnetGroupsResponse{NextToken: next, SubnetGroups: []api.SubnetGroup{}}
	for _, g := range some {
		out.SubnetGroups = append(out.SubnetGroups, *g.shape())
	}
	return out, nil
}
