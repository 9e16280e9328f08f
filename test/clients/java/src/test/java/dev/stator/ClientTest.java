package dev.stator;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.enhanced.dynamodb.DynamoDbEnhancedClient;
import software.amazon.awssdk.enhanced.dynamodb.DynamoDbTable;
import software.amazon.awssdk.enhanced.dynamodb.Key;
import software.amazon.awssdk.enhanced.dynamodb.TableSchema;
import software.amazon.awssdk.enhanced.dynamodb.mapper.annotations.DynamoDbBean;
import software.amazon.awssdk.enhanced.dynamodb.mapper.annotations.DynamoDbPartitionKey;
import software.amazon.awssdk.enhanced.dynamodb.mapper.annotations.DynamoDbSortKey;
import software.amazon.awssdk.enhanced.dynamodb.model.QueryConditional;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeDefinition;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.BillingMode;
import software.amazon.awssdk.services.dynamodb.model.ConditionalCheckFailedException;
import software.amazon.awssdk.services.dynamodb.model.DuplicateItemException;
import software.amazon.awssdk.services.dynamodb.model.KeySchemaElement;
import software.amazon.awssdk.services.dynamodb.model.KeyType;
import software.amazon.awssdk.services.dynamodb.model.KeysAndAttributes;
import software.amazon.awssdk.services.dynamodb.model.PutRequest;
import software.amazon.awssdk.services.dynamodb.model.ResourceNotFoundException;
import software.amazon.awssdk.services.dynamodb.model.ReturnValue;
import software.amazon.awssdk.services.dynamodb.model.ScalarAttributeType;
import software.amazon.awssdk.services.dynamodb.model.TransactionCanceledException;
import software.amazon.awssdk.services.dynamodb.model.WriteRequest;
import software.amazon.awssdk.services.dynamodb.streams.DynamoDbStreamsClient;

/** The AWS SDK for Java v2 against the server whose endpoint is in STATOR_ENDPOINT. */
class ClientTest {
  static final String TABLE = "java-" + System.nanoTime();
  static DynamoDbClient db;

  @BeforeAll
  static void createTable() {
    db = DynamoDbClient.builder()
        .endpointOverride(URI.create(System.getenv("STATOR_ENDPOINT")))
        .region(Region.US_EAST_1)
        .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
        .httpClientBuilder(UrlConnectionHttpClient.builder())
        .build();
    db.createTable(r -> r.tableName(TABLE).billingMode(BillingMode.PAY_PER_REQUEST)
        .attributeDefinitions(
            AttributeDefinition.builder().attributeName("pk").attributeType(ScalarAttributeType.S).build(),
            AttributeDefinition.builder().attributeName("sk").attributeType(ScalarAttributeType.N).build())
        .keySchema(
            KeySchemaElement.builder().attributeName("pk").keyType(KeyType.HASH).build(),
            KeySchemaElement.builder().attributeName("sk").keyType(KeyType.RANGE).build()));
    db.waiter().waitUntilTableExists(r -> r.tableName(TABLE));
  }

  @AfterAll
  static void deleteTable() {
    db.deleteTable(r -> r.tableName(TABLE));
    db.waiter().waitUntilTableNotExists(r -> r.tableName(TABLE));
  }

  static Map<String, AttributeValue> key(String pk, int sk) {
    return Map.of("pk", AttributeValue.fromS(pk), "sk", AttributeValue.fromN(String.valueOf(sk)));
  }

  @Test
  void crud() {
    db.putItem(r -> r.tableName(TABLE).item(key("a", 1)));
    var updated = db.updateItem(r -> r.tableName(TABLE).key(key("a", 1)).updateExpression("ADD hits :one")
        .expressionAttributeValues(Map.of(":one", AttributeValue.fromN("1"))).returnValues(ReturnValue.ALL_NEW));
    assertEquals("1", updated.attributes().get("hits").n());
    assertEquals("1", db.getItem(r -> r.tableName(TABLE).key(key("a", 1)).consistentRead(true)).item().get("hits").n());
    assertThrows(ConditionalCheckFailedException.class,
        () -> db.putItem(r -> r.tableName(TABLE).item(key("a", 1)).conditionExpression("attribute_not_exists(pk)")));
    db.deleteItem(r -> r.tableName(TABLE).key(key("a", 1)));
    assertFalse(db.getItem(r -> r.tableName(TABLE).key(key("a", 1))).hasItem());
  }

  @Test
  void queryScanBatch() {
    List<WriteRequest> writes = new ArrayList<>();
    List<Map<String, AttributeValue>> keys = new ArrayList<>();
    for (int i = 0; i < 25; i++) {
      keys.add(key("q", i));
      writes.add(WriteRequest.builder().putRequest(PutRequest.builder().item(key("q", i)).build()).build());
    }
    assertTrue(db.batchWriteItem(r -> r.requestItems(Map.of(TABLE, writes))).unprocessedItems().isEmpty());
    assertEquals(25, db.batchGetItem(r -> r.requestItems(Map.of(TABLE, KeysAndAttributes.builder().keys(keys).build())))
        .responses().get(TABLE).size());
    assertEquals(25, db.queryPaginator(r -> r.tableName(TABLE).limit(4).keyConditionExpression("pk = :p")
        .expressionAttributeValues(Map.of(":p", AttributeValue.fromS("q")))).items().stream().count());
    assertTrue(db.scanPaginator(r -> r.tableName(TABLE).limit(7)).items().stream().count() >= 25);
  }

  @Test
  void transactionsAndErrors() {
    db.transactWriteItems(r -> r.transactItems(i -> i.put(p -> p.tableName(TABLE).item(key("t", 1)))));
    var refused = assertThrows(TransactionCanceledException.class, () -> db.transactWriteItems(r -> r.transactItems(
        i -> i.put(p -> p.tableName(TABLE).item(key("t", 1)).conditionExpression("attribute_not_exists(pk)")))));
    assertEquals("ConditionalCheckFailed", refused.cancellationReasons().get(0).code());
    assertEquals(2, db.transactGetItems(r -> r.transactItems(i -> i.get(g -> g.tableName(TABLE).key(key("t", 1))))).responses().get(0).item().size());
    var missing = assertThrows(ResourceNotFoundException.class, () -> db.getItem(r -> r.tableName("no-such-table").key(key("t", 1))));
    assertEquals("Requested resource not found", missing.awsErrorDetails().errorMessage());
  }

  private static void until(String what, java.util.function.BooleanSupplier holds) throws InterruptedException {
    for (int i = 0; i < 300; i++) {
      if (holds.getAsBoolean()) {
        return;
      }
      Thread.sleep(100);
    }
    throw new AssertionError(what + ": did not happen");
  }

  @Test
  void liveTable() throws Exception {
    db.executeStatement(r -> r.statement("INSERT INTO \"" + TABLE + "\" VALUE {'pk': 'live', 'sk': 1, 'color': 'red'}"));
    db.updateTable(r -> r.tableName(TABLE).attributeDefinitions(a -> a.attributeName("color").attributeType("S"))
        .globalSecondaryIndexUpdates(u -> u.create(c -> c.indexName("by-color").projection(p -> p.projectionType("ALL"))
            .keySchema(KeySchemaElement.builder().attributeName("color").keyType(KeyType.HASH).build()))));
    until("the index", () -> db.describeTable(r -> r.tableName(TABLE)).table().globalSecondaryIndexes().stream()
        .anyMatch(x -> x.indexName().equals("by-color") && x.indexStatusAsString().equals("ACTIVE")));
    assertEquals(1, db.executeStatement(r -> r.statement("SELECT * FROM \"" + TABLE + "\".\"by-color\" WHERE color = ?")
        .parameters(AttributeValue.fromS("red"))).items().size());
    String arn = db.updateTable(r -> r.tableName(TABLE).streamSpecification(s -> s.streamEnabled(true).streamViewType("KEYS_ONLY")))
        .tableDescription().latestStreamArn();
    db.updateTimeToLive(r -> r.tableName(TABLE).timeToLiveSpecification(t -> t.enabled(true).attributeName("until")));
    until("TTL", () -> db.describeTimeToLive(r -> r.tableName(TABLE)).timeToLiveDescription().timeToLiveStatusAsString().equals("ENABLED"));
    Map<String, AttributeValue> gone = Map.of("pk", AttributeValue.fromS("gone"), "sk", AttributeValue.fromN("1"),
        "until", AttributeValue.fromN(Long.toString(System.currentTimeMillis() / 1000 - 1)));
    db.putItem(r -> r.tableName(TABLE).item(gone));
    until("the expired item's end", () -> !db.getItem(r -> r.tableName(TABLE).key(key("gone", 1))).hasItem());
    try (var streams = DynamoDbStreamsClient.builder().endpointOverride(URI.create(System.getenv("STATOR_ENDPOINT"))).region(Region.US_EAST_1)
        .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
        .httpClientBuilder(UrlConnectionHttpClient.builder()).build()) {
      String shard = streams.describeStream(r -> r.streamArn(arn)).streamDescription().shards().get(0).shardId();
      String it = streams.getShardIterator(r -> r.streamArn(arn).shardId(shard).shardIteratorType("TRIM_HORIZON")).shardIterator();
      // Other tests of this class may write meanwhile.
      var events = streams.getRecords(r -> r.shardIterator(it)).records().stream()
          .filter(r -> r.dynamodb().keys().get("pk").s().equals("gone")).map(r -> r.eventNameAsString()).toList();
      assertEquals(List.of("INSERT", "REMOVE"), events);
    }
    assertThrows(DuplicateItemException.class,
        () -> db.executeStatement(r -> r.statement("INSERT INTO \"" + TABLE + "\" VALUE {'pk': 'live', 'sk': 1}")));
  }

  @Test
  void enhancedClient() {
    DynamoDbTable<Note> notes = DynamoDbEnhancedClient.builder().dynamoDbClient(db).build().table(TABLE, TableSchema.fromBean(Note.class));
    Note n = new Note();
    n.setPk("note");
    n.setSk(7);
    n.setTags(List.of("x", "y"));
    notes.putItem(n);
    assertEquals(List.of("x", "y"), notes.getItem(Key.builder().partitionValue("note").sortValue(7).build()).getTags());
    assertEquals(1, notes.query(QueryConditional.keyEqualTo(k -> k.partitionValue("note"))).items().stream().count());
    notes.deleteItem(n);
    assertNull(notes.getItem(n));
  }

  /** An item. */
  @DynamoDbBean
  public static class Note {
    private String pk;
    private Integer sk;
    private List<String> tags;

    @DynamoDbPartitionKey
    public String getPk() { return pk; }
    public void setPk(String pk) { this.pk = pk; }
    @DynamoDbSortKey
    public Integer getSk() { return sk; }
    public void setSk(Integer sk) { this.sk = sk; }
    public List<String> getTags() { return tags; }
    public void setTags(List<String> tags) { this.tags = tags; }
  }
}
