package control

import (
	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/dax/api"
	"github.com/statordb/stator/internal/smithy"
)

// questions returns what a request asks of policies ("Actions, resources, and condition keys for Amazon DynamoDB Accelerator (DAX)").
// Parameter groups, subnet groups and events are no resources. Clusters that a request does not name are cache/*.
func (s *Service) questions(call *smithy.Call, in any) []access.Question {
	switch in := in.(type) {
	case *api.CreateClusterRequest:
		return s.aboutNewCluster(call, in)
	case *api.DescribeClustersRequest:
		if len(in.ClusterNames) > 0 {
			return s.aboutClusters(call, in.ClusterNames...)
		}
		return s.aboutClusters(call, "*")
	case *api.DecreaseReplicationFactorRequest:
		return s.aboutClusters(call, in.ClusterName.Value)
	case *api.IncreaseReplicationFactorRequest:
		return s.aboutClusters(call, in.ClusterName.Value)
	case *api.DeleteClusterRequest:
		return s.aboutClusters(call, in.ClusterName.Value)
	case *api.RebootNodeRequest:
		return s.aboutClusters(call, in.ClusterName.Value)
	case *api.UpdateClusterRequest:
		return s.aboutClusters(call, in.ClusterName.Value)
	case *api.TagResourceRequest:
		q, keys := s.byARN(call, in.ResourceName.Value)
		addRequestTags(keys, in.Tags)
		return []access.Question{q}
	case *api.UntagResourceRequest:
		q, keys := s.byARN(call, in.ResourceName.Value)
		for _, key := range in.TagKeys {
			keys.Add("aws:tagkeys", key)
		}
		return []access.Question{q}
	case *api.ListTagsRequest:
		q, _ := s.byARN(call, in.ResourceName.Value)
		return []access.Question{q}
	}
	return nil
}

// aboutClusters returns a question about each of the clusters, which need not exist.
func (s *Service) aboutClusters(call *smithy.Call, names ...string) []access.Question {
	list := make([]access.Question, len(names))
	for i, name := range names {
		list[i], _ = s.aboutCluster(call, name)
	}
	return list
}

// aboutCluster returns a question about a cluster, which need not exist, and the question's condition keys.
func (s *Service) aboutCluster(call *smithy.Call, name string) (access.Question, access.Keys) {
	id, keys := s.id(call, name), access.Keys{}
	if c := s.clusters.Get(id); c != nil {
		keys.ResourceTags(c.Tags)
	}
	return access.Question{Resource: ARN(id), Keys: keys}, keys
}

// aboutNewCluster returns what CreateCluster asks. A cluster with tags is tagged, too. Whoever may use the cluster gets at what its role may
// read and write, so a user or session must be allowed to pass the role ("Grant a user permissions to pass a role to an AWS service").
func (s *Service) aboutNewCluster(call *smithy.Call, in *api.CreateClusterRequest) []access.Question {
	q, keys := s.aboutCluster(call, in.ClusterName.Value)
	addRequestTags(keys, in.Tags)
	list := []access.Question{q}
	if len(in.Tags) > 0 {
		q.Action = "dax:TagResource"
		list = append(list, q)
	}
	if call.Caller.Identity != nil {
		passed := access.Keys{}
		passed.Set("iam:passedtoservice", "dax.amazonaws.com")
		list = append(list, access.Question{
			Action: "iam:PassRole", Resource: in.IamRoleArn.Value, Owner: access.Account(in.IamRoleArn.Value), Keys: passed,
		})
	}
	return list
}

// byARN returns a question about the cluster with an ARN, and the question's condition keys.
func (s *Service) byARN(call *smithy.Call, arn string) (access.Question, access.Keys) {
	q, keys := access.ByARN(&call.Caller, arn, s.id(call, "").Account), access.Keys{}
	if name, err := s.tagged(call, arn); err == nil {
		if c := s.clusters.Get(s.id(call, name)); c != nil {
			keys.ResourceTags(c.Tags)
		}
	}
	q.Keys = keys
	return q, keys
}

// addRequestTags adds the tags that a request gives to its resource.
func addRequestTags(keys access.Keys, tags []api.Tag) {
	for _, t := range tags {
		keys.RequestTag(t.Key.Value, t.Value.Value)
	}
}
