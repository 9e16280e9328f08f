package dev.stator;

import com.amazonaws.services.dynamodbv2.streamsadapter.AmazonDynamoDBStreamsAdapterClient;
import com.amazonaws.services.dynamodbv2.streamsadapter.StreamsSchedulerFactory;
import com.amazonaws.services.dynamodbv2.streamsadapter.model.DynamoDBStreamsProcessRecordsInput;
import com.amazonaws.services.dynamodbv2.streamsadapter.polling.DynamoDBStreamsPollingConfig;
import com.amazonaws.services.dynamodbv2.streamsadapter.processor.DynamoDBStreamsShardRecordProcessor;
import java.io.FileOutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.streams.DynamoDbStreamsClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;

/** A worker of the Kinesis Client Library over a table's stream, its leases in Stator too. It appends what it processes to a file. */
public final class Worker {
  private static FileOutputStream out;
  private static String id;

  /** Arguments: endpoint, ARN of the stream, name of the application, the worker's name, the file. */
  public static void main(String[] args) throws Exception {
    URI endpoint = URI.create(args[0]);
    id = args[3];
    out = new FileOutputStream(args[4], true);
    var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create("any", "any"));
    var region = Region.US_EAST_1;
    var dynamodb = DynamoDbAsyncClient.builder().endpointOverride(endpoint).region(region).credentialsProvider(credentials).build();
    var cloudwatch = CloudWatchAsyncClient.builder().endpointOverride(endpoint).region(region).credentialsProvider(credentials).build();
    var streams = DynamoDbStreamsClient.builder().endpointOverride(endpoint).region(region).credentialsProvider(credentials).build();
    var adapter = new AmazonDynamoDBStreamsAdapterClient(streams, region);
    var tracker = StreamsSchedulerFactory.createSingleStreamTracker(
        args[1], InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON));
    var configs = new ConfigsBuilder(tracker, args[2], adapter, dynamodb, cloudwatch, id, Processor::new);
    var polling = new DynamoDBStreamsPollingConfig(adapter);
    polling.idleTimeBetweenReadsInMillis(200);
    var coordinator = configs.coordinatorConfig();
    coordinator.parentShardPollIntervalMillis(500);
    coordinator.shardConsumerDispatchPollIntervalMillis(200);
    var leases = configs.leaseManagementConfig();
    leases.failoverTimeMillis(3000);
    leases.shardSyncIntervalMillis(1000);
    leases.leasesRecoveryAuditorExecutionFrequencyMillis(2000);
    var metrics = configs.metricsConfig().metricsLevel(MetricsLevel.NONE);
    var retrieval = configs.retrievalConfig();
    retrieval.retrievalSpecificConfig(polling);
    StreamsSchedulerFactory.createScheduler(configs.checkpointConfig(), coordinator, leases, configs.lifecycleConfig(),
            metrics, configs.processorConfig(), retrieval, adapter).run();
  }

  private static synchronized void write(String text) {
    try {
      out.write(text.getBytes(StandardCharsets.UTF_8)); // appended whole, also beside other processes
    } catch (java.io.IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static final class Processor implements DynamoDBStreamsShardRecordProcessor {
    private String shard;

    @Override
    public void initialize(InitializationInput in) {
      shard = in.shardId();
    }

    @Override
    public void processRecords(DynamoDBStreamsProcessRecordsInput in) {
      var lines = new StringBuilder();
      for (var r : in.records()) {
        var change = r.getRecord().dynamodb();
        lines.append(id).append(' ').append(shard).append(' ').append(change.keys().get("id").s()).append(' ')
            .append(change.newImage().get("n").n()).append('\n');
      }
      write(lines.toString());
      try {
        in.checkpointer().checkpoint();
      } catch (Exception e) {
        System.err.println("checkpoint: " + e); // the lease is gone: somebody else goes on
      }
    }

    @Override
    public void leaseLost(LeaseLostInput in) {}

    @Override
    public void shardEnded(ShardEndedInput in) {
      write(id + " " + shard + " end 0\n");
      try {
        in.checkpointer().checkpoint();
      } catch (Exception e) {
        System.err.println("checkpoint: " + e);
      }
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput in) {}
  }
}
