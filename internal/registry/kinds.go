package registry

import (
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// Storage is where records are kept: a store, and the servers that share it.
type Storage struct {
	Coordinator cluster.Coordinator
	KV          kv.Store
}

// Kind is a kind of records. Kinds are part of the storage format.
type Kind struct {
	prefix []byte // of the records' keys
}

// All kinds of records.
var (
	Backups            = Kind{keyspace.Jobs('b')}
	Exports            = Kind{keyspace.Jobs('e')}
	Imports            = Kind{keyspace.Jobs('i')}
	BulkOperations     = Kind{keyspace.Jobs('p')}
	DAXClusters        = Kind{keyspace.Jobs('C')}
	DAXParameterGroups = Kind{keyspace.Jobs('P')}
	DAXSubnetGroups    = Kind{keyspace.Jobs('S')}
	DAXEvents          = Kind{keyspace.Jobs('E')}
	Alarms             = Kind{keyspace.Alarms()}
	ScalableTargets    = Kind{keyspace.ScalingRecords('t')}
	ScalingPolicies    = Kind{keyspace.ScalingRecords('p')}
	ScheduledActions   = Kind{keyspace.ScalingRecords('s')}
	ScalingActivities  = Kind{keyspace.ScalingRecords('y')}
	IAMUsers           = Kind{keyspace.IAMRecords('u')}
	IAMGroups          = Kind{keyspace.IAMRecords('g')}
	IAMRoles           = Kind{keyspace.IAMRecords('r')}
	IAMPolicies        = Kind{keyspace.IAMRecords('p')}
	IAMProfiles        = Kind{keyspace.IAMRecords('i')}
	IAMAccessKeys      = Kind{keyspace.IAMRecords('k')}
	IAMKeyUses         = Kind{keyspace.IAMRecords('l')}
	IAMSecrets         = Kind{keyspace.IAMRecords('s')}
	IAMApplied         = Kind{keyspace.IAMRecords('d')}
)
