package control

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/dax/api"
	"github.com/statordb/stator/internal/smithy"
)

// Statuses of clusters and nodes.
const (
	statusCreating  = "creating"
	statusAvailable = "available"
	statusModifying = "modifying"
	statusDeleting  = "deleting"
	statusRebooting = "rebooting"
)

// daxCluster is the stored description of a cluster.
type daxCluster struct {
	ID
	Description       string
	NodeType          string
	Nodes             []node
	Role              string
	SubnetGroup       string
	SecurityGroups    []string
	MaintenanceWindow string
	Topic             string `json:",omitempty"`
	TopicStatus       string `json:",omitempty"`
	ParameterGroup    string
	Encrypted         bool // encrypted at rest: recorded only, without effect
	TLS               bool
	Network           string
	Tags              map[string]string `json:",omitempty"`
	Created           int64             // milliseconds since 1970
	Port              int               // the port at which its node listens
	First             bool              `json:",omitempty"` // see Address
	Host              string            `json:",omitempty"` // the host at which its node listens; empty if that depends on the client's way here

	// Status is valid until the time Until, in milliseconds since 1970. After that the cluster is available.
	Status string `json:",omitempty"`
	Until  int64  `json:",omitempty"`
}

// node is one of the nodes that a cluster claims to have.
type node struct {
	ID      string
	Zone    string
	Created int64 // milliseconds since 1970
}

// ARN returns a cluster's Amazon Resource Name.
func ARN(id ID) string {
	return "arn:aws:dax:" + id.Region + ":" + id.Account + ":cache/" + id.Name
}

// status returns a cluster's current status.
func (s *Service) status(c *daxCluster) string {
	if s.Now().UnixMilli() < c.Until {
		return c.Status
	}
	return statusAvailable
}

// begin puts a cluster into a transient status.
func (s *Service) begin(c *daxCluster, status string) {
	c.Status, c.Until = status, s.Now().Add(s.TransientStatus).UnixMilli()
}

// scheme returns the scheme of the cluster's URL.
func (c *daxCluster) scheme() string {
	if c.TLS {
		return "daxs"
	}
	return "dax"
}

// spec returns what the cluster's node needs to know.
func (s *Service) spec(c *daxCluster) Spec {
	out := Spec{ID: c.ID, Role: c.Role, TLS: c.TLS, Port: c.Port, First: c.First, ItemTTL: s.ItemTTL, QueryTTL: s.QueryTTL}
	if g, err := s.group(ID{Account: c.Account, Region: c.Region, Name: c.ParameterGroup}); err == nil {
		out.ItemTTL, out.QueryTTL = g.ttls()
	}
	for _, n := range c.Nodes {
		out.Nodes = append(out.Nodes, n.ID)
	}
	return out
}

// shape describes a cluster, in a given status, to a caller.
func (s *Service) shape(call *smithy.Call, c *daxCluster, status string) *api.Cluster {
	sse, encryption := "DISABLED", "NONE"
	if c.Encrypted {
		sse = "ENABLED"
	}
	if c.TLS {
		encryption = "TLS"
	}
	active := int64(len(c.Nodes))
	if status == statusCreating {
		active = 0
	}
	out := &api.Cluster{
		ClusterName: smithy.Some(c.Name), ClusterArn: smithy.Some(ARN(c.ID)), TotalNodes: smithy.Some(int64(len(c.Nodes))), ActiveNodes: smithy.Some(active),
		NodeType: smithy.Some(c.NodeType), Status: smithy.Some(status), PreferredMaintenanceWindow: smithy.Some(c.MaintenanceWindow),
		SubnetGroup: smithy.Some(c.SubnetGroup), SecurityGroups: []api.SecurityGroupMembership{}, IamRoleArn: smithy.Some(c.Role),
		ParameterGroup: &api.ParameterGroupStatus{
			ParameterGroupName: smithy.Some(c.ParameterGroup), ParameterApplyStatus: smithy.Some("in-sync"), NodeIdsToReboot: []string{},
		},
		SSEDescription: &api.SSEDescription{Status: smithy.Some(sse)}, ClusterEndpointEncryptionType: smithy.Some(encryption), NetworkType: smithy.Some(c.Network),
		Nodes: []api.Node{},
	}
	if c.Description != "" {
		out.Description = smithy.Some(c.Description)
	}
	if c.Topic != "" {
		out.NotificationConfiguration = &api.NotificationConfiguration{TopicArn: smithy.Some(c.Topic), TopicStatus: smithy.Some(c.TopicStatus)}
	}
	for _, g := range c.SecurityGroups {
		out.SecurityGroups = append(out.SecurityGroups, api.SecurityGroupMembership{SecurityGroupIdentifier: smithy.Some(g), Status: smithy.Some("active")})
	}
	at, listens := s.Nodes.Address(c.ID)
	if s.Records.Coordinator.Servers() > 1 && !listens && c.Host != "" {
		at, listens = Address{Scheme: c.scheme(), Host: c.Host, Port: c.Port}, true // another server has the node
	}
	// A node that listens on all interfaces has no single address. The host by which the caller has reached the server works too.
	if host, _, err := net.SplitHostPort(call.Host); at.Any && err == nil {
		at.Host = host
	}
	endpoint := func() *api.Endpoint {
		return &api.Endpoint{Address: smithy.Some(at.Host), Port: smithy.Some(int64(at.Port))}
	}
	if listens && status != statusCreating {
		out.ClusterDiscoveryEndpoint = endpoint()
		out.ClusterDiscoveryEndpoint.URL = smithy.Some(at.URL())
	}
	for _, n := range c.Nodes {
		shape := api.Node{
			NodeId: smithy.Some(n.ID), NodeCreateTime: smithy.Some(float64(n.Created) / 1000), AvailabilityZone: smithy.Some(n.Zone),
			NodeStatus: smithy.Some(status), ParameterGroupStatus: smithy.Some("in-sync"),
		}
		if status == statusModifying { // nodes keep serving meanwhile
			shape.NodeStatus = smithy.Some(statusAvailable)
		}
		if listens && status != statusCreating {
			shape.Endpoint = endpoint()
		}
		out.Nodes = append(out.Nodes, shape)
	}
	return out
}

// gone reports whether a cluster's deletion is over.
func (s *Service) gone(c *daxCluster) bool {
	return c.Status == statusDeleting && s.status(c) != statusDeleting
}

// cluster returns an existing cluster. One whose deletion is over doesn't exist, even if Finish hasn't removed it yet.
func (s *Service) cluster(call *smithy.Call, name string) (*daxCluster, error) {
	id := s.id(call, name)
	c := s.clusters.Get(id)
	if c == nil || s.gone(c) {
		return nil, fault(clusterNotFound, "Cluster %s not found.", id.Name)
	}
	return c, nil
}

// change changes a cluster, which must be available. The caller holds mu.
func (s *Service) change(ctx context.Context, call *smithy.Call, name string, change func(*daxCluster) error) (*daxCluster, error) {
	c, err := s.cluster(call, name)
	if err != nil {
		return nil, err
	}
	if now := s.status(c); now != statusAvailable {
		return nil, fault(invalidState, "Cluster %s is not in the available state: it is %s.", c.Name, now)
	}
	if c, err = s.clusters.Change(ctx, c.ID, change); err != nil {
		return nil, err
	}
	s.Nodes.Change(s.spec(c))
	return c, nil
}

// Forms that AWS checks: node types, ARNs of roles, and maintenance windows.
var (
	nodeTypes = regexp.MustCompile(`^dax\.(r3|r4|r5|r7i|t2|t3)\.(small|medium|large|[0-9]*xlarge)$`)
	roles     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+`)
	windows   = regexp.MustCompile(`^(sun|mon|tue|wed|thu|fri|sat):([01][0-9]|2[0-3]):[0-5][0-9]-(sun|mon|tue|wed|thu|fri|sat):([01][0-9]|2[0-3]):[0-5][0-9]$`)
)

// defaultWindow is the maintenance window of clusters that name none. It has no effect.
const defaultWindow = "sun:05:00-sun:06:00"

// createCluster opens a node and stores the cluster. The node comes first, because its port is part of the description; if storing fails,
// the node is closed again.
func (s *Service) createCluster(ctx context.Context, call *smithy.Call, in *api.CreateClusterRequest) (*api.CreateClusterResponse, error) {
	if err := checkCreate(in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.id(call, in.ClusterName.Value)
	if _, err := s.cluster(call, in.ClusterName.Value); err == nil {
		return nil, fault(clusterExists, "Cluster %s already exists.", id.Name)
	}
	c := &daxCluster{
		ID: id, Description: in.Description.Value, NodeType: in.NodeType.Value, Role: strings.Clone(in.IamRoleArn.Value), // the node keeps it
		SubnetGroup: strings.ToLower(in.SubnetGroupName.Value), SecurityGroups: in.SecurityGroupIds,
		MaintenanceWindow: in.PreferredMaintenanceWindow.Or(defaultWindow), Topic: in.NotificationTopicArn.Value,
		ParameterGroup: strings.ToLower(in.ParameterGroupName.Value), Encrypted: in.SSESpecification != nil && in.SSESpecification.Enabled.Value,
		TLS: in.ClusterEndpointEncryptionType.Value == "TLS", Network: in.NetworkType.Or("ipv4"), Created: s.Now().UnixMilli(),
	}
	// Terraform sends empty strings for what isn't given.
	c.SubnetGroup, c.ParameterGroup = cmp.Or(c.SubnetGroup, DefaultSubnetGroup), cmp.Or(c.ParameterGroup, DefaultParameterGroup)
	if c.Topic != "" {
		c.TopicStatus = "active"
	}
	if c.SecurityGroups == nil {
		c.SecurityGroups = []string{"sg-00000000000000000"}
	}
	if _, err := s.subnetGroup(s.id(call, c.SubnetGroup)); err != nil {
		return nil, err
	}
	if _, err := s.group(s.id(call, c.ParameterGroup)); err != nil {
		return nil, err
	}
	var err error
	if c.Tags, err = addTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if err := s.addNodes(c, int(in.ReplicationFactor.Value), in.AvailabilityZones); err != nil {
		return nil, err
	}
	at, err := s.Nodes.Open(s.spec(c))
	if errors.Is(err, ErrNoTLS) {
		return nil, invalid("ClusterEndpointEncryptionType TLS is not available: %v.", err)
	}
	if err != nil {
		return nil, fault(insufficientCapacity, "The cluster's endpoint can't be opened: %v.", err)
	}
	c.Port, c.First = at.Port, at.First
	if !at.Any {
		c.Host = at.Host
	}
	s.begin(c, statusCreating)
	if err := s.clusters.Put(ctx, id, c); err != nil {
		s.Nodes.Close(id)
		return nil, err
	}
	for _, n := range c.Nodes {
		if err := s.recordEvent(ctx, id, id.Name, sourceCluster, "Added node "+n.ID+" in Availability Zone "+n.Zone+"."); err != nil {
			return nil, err
		}
	}
	return &api.CreateClusterResponse{Cluster: s.shape(call, c, statusCreating)}, s.recordEvent(ctx, id, id.Name, sourceCluster, "Cluster created.")
}

// checkCreate checks what depends on the request alone.
func checkCreate(in *api.CreateClusterRequest) error {
	if err := checkName("ClusterName", in.ClusterName.Value, maxClusterName); err != nil {
		return err
	}
	switch factor := in.ReplicationFactor.Value; {
	case !nodeTypes.MatchString(in.NodeType.Value):
		return invalid("Invalid node type: %s.", in.NodeType.Value)
	case factor < 1:
		return invalid("ReplicationFactor must be 1 or more.")
	case in.AvailabilityZones != nil && int64(len(in.AvailabilityZones)) != factor:
		return fault(invalidCombination, "The number of AvailabilityZones must equal the ReplicationFactor.")
	case !roles.MatchString(in.IamRoleArn.Value):
		return invalid("Invalid IAM role: %s.", in.IamRoleArn.Value)
	case in.PreferredMaintenanceWindow.Set && !windows.MatchString(in.PreferredMaintenanceWindow.Value):
		return invalid("Invalid maintenance window: %s.", in.PreferredMaintenanceWindow.Value)
	}
	texts := slices.Concat(in.SecurityGroupIds, in.AvailabilityZones)
	return checkText(append(texts, in.Description.Value, in.NodeType.Value, in.IamRoleArn.Value, in.NotificationTopicArn.Value)...)
}

// addNodes adds nodes to a cluster until it has factor nodes.
func (s *Service) addNodes(c *daxCluster, factor int, zones []string) error {
	if factor > maxNodesOfCluster {
		return fault(nodesOfCluster, "You have exceeded the maximum number of nodes in a cluster: %d.", maxNodesOfCluster)
	}
	total := factor - len(c.Nodes)
	for _, other := range s.clusters.All() {
		if other.Account == c.Account && !s.gone(other) {
			total += len(other.Nodes)
		}
	}
	if total > maxNodesOfCustomer {
		return fault(nodesOfCustomer, "You have exceeded the maximum number of nodes: %d.", maxNodesOfCustomer)
	}
	taken := map[string]bool{}
	for _, n := range c.Nodes {
		taken[n.ID] = true
	}
	for i := 0; len(c.Nodes) < factor; i++ {
		id := c.Name + "-" + string("abcdefghij"[i])
		if taken[id] {
			continue
		}
		at := zone(c.Region, i)
		if len(zones) > 0 {
			at, zones = zones[0], zones[1:]
		}
		c.Nodes = append(c.Nodes, node{ID: id, Zone: at, Created: s.Now().UnixMilli()})
	}
	slices.SortFunc(c.Nodes, func(a, b node) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

// deleteCluster closes the node at once. The description stays while the cluster is deleting, until Finish removes it.
func (s *Service) deleteCluster(ctx context.Context, call *smithy.Call, in *api.DeleteClusterRequest) (*api.DeleteClusterResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.change(ctx, call, in.ClusterName.Value, func(c *daxCluster) error {
		s.begin(c, statusDeleting)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &api.DeleteClusterResponse{Cluster: s.shape(call, c, statusDeleting)}
	s.Nodes.Close(c.ID)
	if s.TransientStatus == 0 {
		err = s.clusters.Remove(ctx, c.ID)
	}
	return out, errors.Join(err, s.recordEvent(ctx, c.ID, c.Name, sourceCluster, "Cluster deleted."))
}

// Finish removes clusters whose deletion is over.
func (s *Service) Finish(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clusters.All() {
		if s.gone(c) {
			if err := s.clusters.Remove(ctx, c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) describeClusters(_ context.Context, call *smithy.Call, in *api.DescribeClustersRequest) (*api.DescribeClustersResponse, error) {
	id := s.id(call, "")
	all := slices.DeleteFunc(s.clusters.List(id.Account, id.Region), func(c *daxCluster) bool { _, err := s.cluster(call, c.Name); return err != nil })
	if in.ClusterNames != nil {
		all = nil
		for _, name := range in.ClusterNames {
			c, err := s.cluster(call, name)
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
	some, next, err := page(all, func(c *daxCluster) string { return c.Name }, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeClustersResponse{NextToken: next, Clusters: []api.Cluster{}}
	for _, c := range some {
		out.Clusters = append(out.Clusters, *s.shape(call, c, s.status(c)))
	}
	return out, nil
}

// updateCluster changes what is given. Its effect on the node is that of the parameter group.
func (s *Service) updateCluster(ctx context.Context, call *smithy.Call, in *api.UpdateClusterRequest) (*api.UpdateClusterResponse, error) {
	if in.PreferredMaintenanceWindow.Set && !windows.MatchString(in.PreferredMaintenanceWindow.Value) {
		return nil, invalid("Invalid maintenance window: %s.", in.PreferredMaintenanceWindow.Value)
	}
	if in.NotificationTopicStatus.Set && in.NotificationTopicStatus.Value != "active" && in.NotificationTopicStatus.Value != "inactive" {
		return nil, invalid("NotificationTopicStatus must be active or inactive.")
	}
	if err := checkText(append(slices.Clone(in.SecurityGroupIds), in.Description.Value, in.NotificationTopicArn.Value)...); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.ParameterGroupName.Set {
		if _, err := s.group(s.id(call, in.ParameterGroupName.Value)); err != nil {
			return nil, err
		}
	}
	c, err := s.change(ctx, call, in.ClusterName.Value, func(c *daxCluster) error {
		c.Description = in.Description.Or(c.Description)
		c.MaintenanceWindow = in.PreferredMaintenanceWindow.Or(c.MaintenanceWindow)
		if in.NotificationTopicArn.Set {
			c.Topic, c.TopicStatus = in.NotificationTopicArn.Value, "active" // unless the request says otherwise
		}
		if c.Topic != "" {
			c.TopicStatus = in.NotificationTopicStatus.Or(c.TopicStatus)
		}
		c.ParameterGroup = strings.ToLower(in.ParameterGroupName.Or(c.ParameterGroup))
		if in.SecurityGroupIds != nil {
			c.SecurityGroups = in.SecurityGroupIds
		}
		s.begin(c, statusModifying)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateClusterResponse{Cluster: s.shape(call, c, statusModifying)}, s.recordEvent(ctx, c.ID, c.Name, sourceCluster, "Cluster modified.")
}

// increaseReplicationFactor adds names of nodes. There is still one real node.
func (s *Service) increaseReplicationFactor(ctx context.Context, call *smithy.Call, in *api.IncreaseReplicationFactorRequest) (*api.IncreaseReplicationFactorResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var added []node
	c, err := s.change(ctx, call, in.ClusterName.Value, func(c *daxCluster) error {
		factor := int(in.NewReplicationFactor.Value)
		more := factor - len(c.Nodes)
		if more <= 0 {
			return invalid("NewReplicationFactor must be more than the current %d nodes.", len(c.Nodes))
		}
		if err := checkText(in.AvailabilityZones...); err != nil {
			return err
		}
		if in.AvailabilityZones != nil && len(in.AvailabilityZones) != more {
			return fault(invalidCombination, "There must be as many AvailabilityZones as nodes are added.")
		}
		old := slices.Clone(c.Nodes)
		if err := s.addNodes(c, factor, in.AvailabilityZones); err != nil {
			return err
		}
		added = slices.DeleteFunc(slices.Clone(c.Nodes), func(n node) bool { return slices.Contains(old, n) })
		s.begin(c, statusModifying)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, n := range added {
		if err := s.recordEvent(ctx, c.ID, c.Name, sourceCluster, "Added node "+n.ID+" in Availability Zone "+n.Zone+"."); err != nil {
			return nil, err
		}
	}
	return &api.IncreaseReplicationFactorResponse{Cluster: s.shape(call, c, statusModifying)}, nil
}

// decreaseReplicationFactor removes names of nodes. The one real node stays.
func (s *Service) decreaseReplicationFactor(ctx context.Context, call *smithy.Call, in *api.DecreaseReplicationFactorRequest) (*api.DecreaseReplicationFactorResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var removed []string
	c, err := s.change(ctx, call, in.ClusterName.Value, func(c *daxCluster) error {
		factor := int(in.NewReplicationFactor.Value)
		fewer := len(c.Nodes) - factor
		if factor < 1 || fewer <= 0 {
			return invalid("NewReplicationFactor must be at least 1 and less than the current %d nodes.", len(c.Nodes))
		}
		removed = in.NodeIdsToRemove
		for _, id := range removed {
			if !slices.ContainsFunc(c.Nodes, func(n node) bool { return n.ID == id }) {
				return fault(nodeNotFound, "Node %s not found.", id)
			}
		}
		if removed != nil && len(removed) != fewer {
			return fault(invalidCombination, "There must be as many NodeIdsToRemove as nodes are removed.")
		}
		if removed == nil { // default: the last ones, in the named zones if there are any
			for i := len(c.Nodes) - 1; i >= 0 && len(removed) < fewer; i-- {
				if in.AvailabilityZones == nil || slices.Contains(in.AvailabilityZones, c.Nodes[i].Zone) {
					removed = append(removed, c.Nodes[i].ID)
				}
			}
			if len(removed) < fewer {
				return invalid("The AvailabilityZones have too few nodes.")
			}
		}
		c.Nodes = slices.DeleteFunc(c.Nodes, func(n node) bool { return slices.Contains(removed, n.ID) })
		s.begin(c, statusModifying)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := s.shape(call, c, statusModifying)
	out.NodeIdsToRemove = removed
	for _, id := range removed {
		if err := s.recordEvent(ctx, c.ID, c.Name, sourceCluster, "Removed node "+id+"."); err != nil {
			return nil, err
		}
	}
	return &api.DecreaseReplicationFactorResponse{Cluster: out}, nil
}

// rebootNode empties the caches, whichever node is named.
func (s *Service) rebootNode(ctx context.Context, call *smithy.Call, in *api.RebootNodeRequest) (*api.RebootNodeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.change(ctx, call, in.ClusterName.Value, func(c *daxCluster) error {
		if !slices.ContainsFunc(c.Nodes, func(n node) bool { return n.ID == in.NodeId.Value }) {
			return fault(nodeNotFound, "Node %s not found.", in.NodeId.Value)
		}
		s.begin(c, statusModifying)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Nodes.Reboot(c.ID)
	out := s.shape(call, c, statusModifying)
	for i := range out.Nodes {
		if out.Nodes[i].NodeId.Value == in.NodeId.Value {
			out.Nodes[i].NodeStatus = smithy.Some(statusRebooting)
		}
	}
	return &api.RebootNodeResponse{Cluster: out}, s.recordEvent(ctx, c.ID, in.NodeId.Value, sourceCluster, "Node rebooted.")
}

// tagged returns the name of the cluster with an ARN.
func (s *Service) tagged(call *smithy.Call, given string) (string, error) {
	name, ok := strings.CutPrefix(given, ARN(s.id(call, "")))
	if !ok {
		return "", fault(invalidARN, "The ARN %s is not valid.", given)
	}
	return name, nil
}

// addTags returns a copy of tags with more added or replaced.
func addTags(tags map[string]string, more []api.Tag) (map[string]string, error) {
	out := maps.Clone(tags)
	if out == nil {
		out = map[string]string{}
	}
	for _, t := range more {
		if t.Key.Value == "" || len(t.Key.Value) > 128 || len(t.Value.Value) > 256 || strings.HasPrefix(strings.ToLower(t.Key.Value), "aws:") {
			return nil, invalid("Invalid tag: %q.", t.Key.Value)
		}
		out[t.Key.Value] = t.Value.Value
	}
	if len(out) > maxTags {
		return nil, fault(tagQuota, "You have exceeded the maximum number of tags: %d.", maxTags)
	}
	return out, nil
}

// tagShapes lists tags, sorted by key.
func tagShapes(tags map[string]string) []api.Tag {
	out := []api.Tag{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, api.Tag{Key: smithy.Some(k), Value: smithy.Some(tags[k])})
	}
	return out
}

func (s *Service) listTags(_ context.Context, call *smithy.Call, in *api.ListTagsRequest) (*api.ListTagsResponse, error) {
	name, err := s.tagged(call, in.ResourceName.Value)
	if err != nil {
		return nil, err
	}
	c, err := s.cluster(call, name)
	if err != nil {
		return nil, err
	}
	some, next, err := page(tagShapes(c.Tags), func(t api.Tag) string { return t.Key.Value }, smithy.Opt[int64]{}, in.NextToken)
	return &api.ListTagsResponse{Tags: some, NextToken: next}, err
}

// changeTags changes a cluster's tags and returns them.
func (s *Service) changeTags(ctx context.Context, call *smithy.Call, arn string, change func(*daxCluster) error) ([]api.Tag, error) {
	name, err := s.tagged(call, arn)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.change(ctx, call, name, change)
	if err != nil {
		return nil, err
	}
	return tagShapes(c.Tags), nil
}

func (s *Service) tagResource(ctx context.Context, call *smithy.Call, in *api.TagResourceRequest) (*api.TagResourceResponse, error) {
	tags, err := s.changeTags(ctx, call, in.ResourceName.Value, func(c *daxCluster) (err error) {
		c.Tags, err = addTags(c.Tags, in.Tags)
		return err
	})
	return &api.TagResourceResponse{Tags: tags}, err
}

func (s *Service) untagResource(ctx context.Context, call *smithy.Call, in *api.UntagResourceRequest) (*api.UntagResourceResponse, error) {
	tags, err := s.changeTags(ctx, call, in.ResourceName.Value, func(c *daxCluster) error {
		for _, key := range in.TagKeys {
			if _, there := c.Tags[key]; !there {
				return fault(tagNotFound, "Tag %s not found.", key)
			}
			delete(c.Tags, key)
		}
		return nil
	})
	return &api.UntagResourceResponse{Tags: tags}, err
}
