package dev.stator;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.net.URI;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiFunction;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.SdkField;
import software.amazon.awssdk.core.SdkPojo;
import software.amazon.awssdk.core.util.SdkAutoConstructList;
import software.amazon.awssdk.core.util.SdkAutoConstructMap;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeDefinition;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.BillingMode;
import software.amazon.awssdk.services.dynamodb.model.ConditionalCheckFailedException;
import software.amazon.awssdk.services.dynamodb.model.DynamoDbException;
import software.amazon.awssdk.services.dynamodb.model.GetItemResponse;
import software.amazon.awssdk.services.dynamodb.model.GlobalSecondaryIndex;
import software.amazon.awssdk.services.dynamodb.model.KeySchemaElement;
import software.amazon.awssdk.services.dynamodb.model.KeyType;
import software.amazon.awssdk.services.dynamodb.model.KeysAndAttributes;
import software.amazon.awssdk.services.dynamodb.model.LocalSecondaryIndex;
import software.amazon.awssdk.services.dynamodb.model.ProjectionType;
import software.amazon.awssdk.services.dynamodb.model.QueryRequest;
import software.amazon.awssdk.services.dynamodb.model.QueryResponse;
import software.amazon.awssdk.services.dynamodb.model.ResourceNotFoundException;
import software.amazon.awssdk.services.dynamodb.model.ReturnConsumedCapacity;
import software.amazon.awssdk.services.dynamodb.model.ReturnItemCollectionMetrics;
import software.amazon.awssdk.services.dynamodb.model.ReturnValue;
import software.amazon.awssdk.services.dynamodb.model.ReturnValuesOnConditionCheckFailure;
import software.amazon.awssdk.services.dynamodb.model.ScalarAttributeType;
import software.amazon.awssdk.services.dynamodb.model.ScanResponse;
import software.amazon.awssdk.services.dynamodb.model.TransactGetItem;
import software.amazon.awssdk.services.dynamodb.model.TransactWriteItem;
import software.amazon.awssdk.services.dynamodb.model.TransactionCanceledException;
import software.amazon.awssdk.services.dynamodb.model.WriteRequest;
import software.amazon.dax.ClusterDaxClient;
import software.amazon.dax.Configuration;

/**
 * The DAX client for Java against the endpoint in STATOR_DAX_ENDPOINT, whose answers come in frames: the same requests as through the
 * SDK, and the same answers.
 */
class DaxTest {
  static final String BASE = "javadax-" + System.nanoTime();
  static final Map<String, AttributeValue> EVERYTHING = Map.ofEntries(
      Map.entry("s", AttributeValue.fromS("text ä €")), Map.entry("n", AttributeValue.fromN("42")), Map.entry("dcm", AttributeValue.fromN("3.25")),
      Map.entry("big", AttributeValue.fromN("12345678901234567890123456789012345678")), Map.entry("tiny", AttributeValue.fromN("1E-100")),
      Map.entry("b", AttributeValue.fromB(SdkBytes.fromByteArray(new byte[] {0, -1}))), Map.entry("t", AttributeValue.fromBool(true)),
      Map.entry("f", AttributeValue.fromBool(false)), Map.entry("nul", AttributeValue.fromNul(true)),
      Map.entry("ss", AttributeValue.fromSs(List.of("a", "b"))), Map.entry("ns", AttributeValue.fromNs(List.of("1", "2.5"))),
      Map.entry("bs", AttributeValue.fromBs(List.of(SdkBytes.fromByteArray(new byte[] {1}), SdkBytes.fromByteArray(new byte[] {2})))),
      Map.entry("l1", AttributeValue.fromL(List.of(AttributeValue.fromN("1"), AttributeValue.fromS("x"), AttributeValue.fromM(Map.of("q", AttributeValue.fromN("2")))))),
      Map.entry("m", AttributeValue.fromM(Map.of("k", AttributeValue.fromS("v"), "deep", AttributeValue.fromM(Map.of("er", AttributeValue.fromN("3")))))),
      Map.entry("count", AttributeValue.fromN("1")));
  static DynamoDbClient sdk;
  static DynamoDbClient dax;

  @BeforeAll
  static void open() throws Exception {
    var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
    sdk = DynamoDbClient.builder().endpointOverride(URI.create(System.getenv("STATOR_ENDPOINT"))).region(Region.US_EAST_1)
        .credentialsProvider(credentials).httpClientBuilder(UrlConnectionHttpClient.builder()).build();
    dax = ClusterDaxClient.builder().overrideConfiguration(Configuration.builder().url(System.getenv("STATOR_DAX_ENDPOINT")).region(Region.US_EAST_1)
        .credentialsProvider(credentials).build()).build();
    for (var db : List.of(sdk, dax)) {
      sdk.createTable(r -> r.tableName(table(db)).billingMode(BillingMode.PAY_PER_REQUEST)
          .attributeDefinitions(define("pk", ScalarAttributeType.S), define("sk", ScalarAttributeType.N), define("g", ScalarAttributeType.S), define("l", ScalarAttributeType.B))
          .keySchema(element("pk", KeyType.HASH), element("sk", KeyType.RANGE))
          .globalSecondaryIndexes(GlobalSecondaryIndex.builder().indexName("by-g").keySchema(element("g", KeyType.HASH)).projection(p -> p.projectionType(ProjectionType.ALL)).build())
          .localSecondaryIndexes(LocalSecondaryIndex.builder().indexName("by-l").keySchema(element("pk", KeyType.HASH), element("l", KeyType.RANGE))
              .projection(p -> p.projectionType(ProjectionType.KEYS_ONLY)).build()));
      sdk.waiter().waitUntilTableExists(r -> r.tableName(table(db)));
    }
  }

  @AfterAll
  static void close() {
    dax.close();
  }

  static AttributeDefinition define(String name, ScalarAttributeType type) {
    return AttributeDefinition.builder().attributeName(name).attributeType(type).build();
  }

  static KeySchemaElement element(String name, KeyType type) {
    return KeySchemaElement.builder().attributeName(name).keyType(type).build();
  }

  static String table(DynamoDbClient db) {
    return BASE + (db == sdk ? "-sdk" : "-dax");
  }

  /** Makes answers alike: numbers are numbers, what is empty is nothing, and the tables have one name. */
  static Object canonical(Object v) {
    if (v instanceof SdkPojo pojo) {
      var out = new TreeMap<String, Object>();
      for (SdkField<?> f : pojo.sdkFields()) {
        Object x = f.getValueOrDefault(pojo);
        if (x == null || x instanceof SdkAutoConstructList || x instanceof SdkAutoConstructMap) {
          continue;
        }
        Object c = canonical(x);
        if (v instanceof AttributeValue && f.memberName().equals("N")) {
          c = new BigDecimal((String) x).stripTrailingZeros();
        }
        if (v instanceof AttributeValue && f.memberName().equals("NS")) {
          c = ((List<?>) x).stream().map(n -> new BigDecimal((String) n).stripTrailingZeros()).sorted().toList();
        }
        if (c instanceof Map<?, ?> m && m.isEmpty() || c instanceof List<?> l && l.isEmpty()) {
          continue;
        }
        out.put(f.memberName(), c);
      }
      return out;
    }
    if (v instanceof Map<?, ?> m) {
      var out = new TreeMap<String, Object>();
      m.forEach((k, x) -> out.put((String) canonical(k), canonical(x)));
      return out;
    }
    if (v instanceof List<?> l) {
      return l.stream().map(DaxTest::canonical).toList();
    }
    if (v instanceof SdkBytes b) {
      return Base64.getEncoder().encodeToString(b.asByteArray());
    }
    return v instanceof String s ? s.replace(BASE + "-sdk", BASE).replace(BASE + "-dax", BASE) : v;
  }

  static Object answer(DynamoDbClient db, BiFunction<DynamoDbClient, String, Object> call) {
    try {
      return canonical(call.apply(db, table(db)));
    } catch (DynamoDbException e) {
      // The DAX client puts the codes of the protocol in front of the message, the SDK what it knows of the request behind.
      String message = e.awsErrorDetails() == null || e.awsErrorDetails().errorMessage() == null ? e.getMessage() : e.awsErrorDetails().errorMessage();
      return e.getClass().getSimpleName() + ": " + message.replaceFirst("^\\[[0-9.]+\\] ", "").replaceFirst(" \\(Service: .*", "");
    }
  }

  /** Runs a request through the SDK and through DAX, each with a table of its own, and compares. */
  static Object both(BiFunction<DynamoDbClient, String, Object> call) {
    Object want = answer(sdk, call);
    assertEquals(want, answer(dax, call));
    return want;
  }

  /** Is both, and reads once more from the cache. */
  static void read(BiFunction<DynamoDbClient, String, Object> call) {
    Object want = both(call);
    if (want instanceof Map<?, ?> m && !m.containsKey("ConsumedCapacity")) {
      assertEquals(want, answer(dax, call));
    }
  }

  static Map<String, AttributeValue> key(String pk, String sk) {
    return Map.of("pk", AttributeValue.fromS(pk), "sk", AttributeValue.fromN(sk));
  }

  static Map<String, AttributeValue> with(Map<String, AttributeValue> it, Map<String, AttributeValue> more) {
    var out = new HashMap<>(it);
    out.putAll(more);
    return out;
  }

  @Test
  void items() {
    both((db, t) -> db.putItem(r -> r.tableName(t).item(with(key("a", "1"), EVERYTHING))));
    both((db, t) -> db.putItem(r -> r.tableName(t).item(key("a", "2")).returnConsumedCapacity(ReturnConsumedCapacity.TOTAL)));
    both((db, t) -> db.putItem(r -> r.tableName(t).item(with(key("a", "2"), Map.of("x", AttributeValue.fromN("1")))).returnValues(ReturnValue.ALL_OLD)
        .returnItemCollectionMetrics(ReturnItemCollectionMetrics.SIZE)));
    read((db, t) -> db.getItem(r -> r.tableName(t).key(key("a", "1"))));
    read((db, t) -> db.getItem(r -> r.tableName(t).key(key("nothing", "1"))));
    read((db, t) -> db.getItem(r -> r.tableName(t).key(key("a", "1")).consistentRead(true).returnConsumedCapacity(ReturnConsumedCapacity.INDEXES)));
    read((db, t) -> db.getItem(r -> r.tableName(t).key(key("a", "1")).projectionExpression("s, m.deep.er, l1[2].q, #c").expressionAttributeNames(Map.of("#c", "count"))));
    for (var values : ReturnValue.knownValues()) {
      both((db, t) -> db.updateItem(r -> r.tableName(t).key(key("a", "1")).returnValues(values).expressionAttributeNames(Map.of("#c", "count"))
          .updateExpression("SET l1[0] = if_not_exists(nope, :w), #c = #c + :w, m.k = :s REMOVE dcm ADD n :w, ss :ss DELETE ns :ns")
          .expressionAttributeValues(Map.of(":w", AttributeValue.fromN("3"), ":s", AttributeValue.fromS(values.toString()),
              ":ss", AttributeValue.fromSs(List.of("c")), ":ns", AttributeValue.fromNs(List.of("1"))))));
      read((db, t) -> db.getItem(r -> r.tableName(t).key(key("a", "1"))));
    }
    both((db, t) -> db.deleteItem(r -> r.tableName(t).key(key("a", "2")).returnValues(ReturnValue.ALL_OLD).returnConsumedCapacity(ReturnConsumedCapacity.INDEXES)));
    read((db, t) -> db.getItem(r -> r.tableName(t).key(key("a", "2"))));
  }

  @Test
  void errors() {
    both((db, t) -> db.putItem(r -> r.tableName(t).item(key("e", "1"))));
    both((db, t) -> db.putItem(r -> r.tableName(t).item(key("e", "1")).conditionExpression("attribute_not_exists(pk)")));
    assertThrows(ConditionalCheckFailedException.class, () -> dax.putItem(r -> r.tableName(table(dax)).item(key("e", "1")).conditionExpression("attribute_not_exists(pk)")));
    both((db, t) -> db.getItem(r -> r.tableName("there-is-no-such-table").key(key("e", "1"))));
    assertThrows(ResourceNotFoundException.class, () -> dax.getItem(r -> r.tableName("there-is-no-such-table").key(key("e", "1"))));
    both((db, t) -> db.updateItem(r -> r.tableName(t).key(key("e", "1")).updateExpression("SET sk = :x").expressionAttributeValues(Map.of(":x", AttributeValue.fromN("1")))));
    both((db, t) -> db.query(r -> r.tableName(t).keyConditionExpression("sk = :x").expressionAttributeValues(Map.of(":x", AttributeValue.fromN("1")))));
    both((db, t) -> db.query(r -> r.tableName(t).indexName("nope").keyConditionExpression("pk = :x").expressionAttributeValues(Map.of(":x", AttributeValue.fromS("1")))));
    both((db, t) -> db.scan(r -> r.tableName(t).segment(5).totalSegments(2)));
    both((db, t) -> db.putItem(r -> r.tableName(t).item(with(key("e", "1"), Map.of("g", AttributeValue.fromS(""))))));
  }

  @Test
  void queriesAndScans() {
    for (String n : List.of("0", "1", "-1", "12", "100", "-0.5", "3.14", "1E20", "-123456789")) {
      both((db, t) -> db.putItem(r -> r.tableName(t).item(with(key("q", n), Map.of("g", AttributeValue.fromS("g1"), "l", AttributeValue.fromB(SdkBytes.fromUtf8String("l" + n)))))));
    }
    var p = Map.of(":p", AttributeValue.fromS("q"));
    for (var request : List.of(
        QueryRequest.builder(),
        QueryRequest.builder().scanIndexForward(false),
        QueryRequest.builder().select("COUNT"),
        QueryRequest.builder().filterExpression("l > :l").expressionAttributeValues(with(p, Map.of(":l", AttributeValue.fromB(SdkBytes.fromUtf8String("l1"))))),
        QueryRequest.builder().projectionExpression("sk, #g").expressionAttributeNames(Map.of("#g", "g")),
        QueryRequest.builder().indexName("by-l"),
        QueryRequest.builder().consistentRead(true).returnConsumedCapacity(ReturnConsumedCapacity.TOTAL),
        QueryRequest.builder().keyConditionExpression("pk = :p AND sk BETWEEN :a AND :b")
            .expressionAttributeValues(with(p, Map.of(":a", AttributeValue.fromN("-1"), ":b", AttributeValue.fromN("12")))))) {
      var asked = request.build();
      read((db, t) -> {
        var r = asked.toBuilder().tableName(t);
        if (asked.keyConditionExpression() == null) {
          r.keyConditionExpression("pk = :p");
        }
        if (!asked.hasExpressionAttributeValues()) {
          r.expressionAttributeValues(p);
        }
        QueryResponse out = db.query(r.build());
        assertTrue(out.count() > 0);
        return out;
      });
    }
    read((db, t) -> db.query(r -> r.tableName(t).indexName("by-g").keyConditionExpression("g = :g").expressionAttributeValues(Map.of(":g", AttributeValue.fromS("g1")))));
    for (String index : new String[] {null, "by-g"}) {
      both((db, t) -> {
        List<Object> all = new ArrayList<>();
        Map<String, AttributeValue> start = null;
        do {
          var from = start;
          ScanResponse page = db.scan(r -> r.tableName(t).indexName(index).limit(3).filterExpression("pk = :p").expressionAttributeValues(p).exclusiveStartKey(from));
          all.addAll(page.items());
          start = page.hasLastEvaluatedKey() ? page.lastEvaluatedKey() : null;
        } while (start != null);
        assertEquals(9, all.size());
        return all;
      });
    }
    read((db, t) -> db.scan(r -> r.tableName(t).segment(0).totalSegments(2).projectionExpression("pk, sk")));
  }

  @Test
  void batches() {
    both((db, t) -> db.batchWriteItem(r -> r.requestItems(Map.of(t, List.of(
        WriteRequest.builder().putRequest(w -> w.item(with(key("b", "1"), EVERYTHING))).build(), WriteRequest.builder().putRequest(w -> w.item(key("b", "2"))).build(),
        WriteRequest.builder().deleteRequest(w -> w.key(key("b", "3"))).build())))
        .returnConsumedCapacity(ReturnConsumedCapacity.TOTAL).returnItemCollectionMetrics(ReturnItemCollectionMetrics.SIZE)));
    for (var asked : List.of(KeysAndAttributes.builder(), KeysAndAttributes.builder().consistentRead(true), KeysAndAttributes.builder().projectionExpression("m.k, pk"))) {
      read((db, t) -> db.batchGetItem(r -> r.requestItems(Map.of(t, asked.keys(List.of(key("b", "1"), key("b", "2"), key("nothing", "1"))).build()))));
    }
  }

  @Test
  void transactions() {
    both((db, t) -> db.transactWriteItems(r -> r.transactItems(
        TransactWriteItem.builder().put(w -> w.tableName(t).item(with(key("t", "1"), EVERYTHING))).build(),
        TransactWriteItem.builder().update(w -> w.tableName(t).key(key("t", "2")).updateExpression("SET x = :x").expressionAttributeValues(Map.of(":x", AttributeValue.fromN("5")))).build(),
        TransactWriteItem.builder().delete(w -> w.tableName(t).key(key("t", "3"))).build(),
        TransactWriteItem.builder().conditionCheck(w -> w.tableName(t).key(key("t", "4")).conditionExpression("attribute_not_exists(pk)")).build())
        .returnConsumedCapacity(ReturnConsumedCapacity.TOTAL)));
    both((db, t) -> db.transactGetItems(r -> r.transactItems(
        TransactGetItem.builder().get(g -> g.tableName(t).key(key("t", "1"))).build(),
        TransactGetItem.builder().get(g -> g.tableName(t).key(key("t", "2")).projectionExpression("x")).build(),
        TransactGetItem.builder().get(g -> g.tableName(t).key(key("t", "3"))).build())));
    read((db, t) -> db.getItem(r -> r.tableName(t).key(key("t", "2"))));
    both((db, t) -> {
      var canceled = assertThrows(TransactionCanceledException.class, () -> db.transactWriteItems(r -> r.transactItems(
          TransactWriteItem.builder().put(w -> w.tableName(t).item(key("t", "9"))).build(),
          TransactWriteItem.builder().update(w -> w.tableName(t).key(key("t", "2")).updateExpression("SET x = :x").conditionExpression("x = :x")
              .expressionAttributeValues(Map.of(":x", AttributeValue.fromN("7"))).returnValuesOnConditionCheckFailure(ReturnValuesOnConditionCheckFailure.ALL_OLD)).build())));
      assertTrue(canceled.hasCancellationReasons());
      return canceled.cancellationReasons();
    });
  }

  @Test
  void cache() {
    String t = table(dax);
    dax.putItem(r -> r.tableName(t).item(with(key("c", "1"), Map.of("x", AttributeValue.fromS("through")))));
    for (var db : List.of(sdk, dax)) { // both tables stay alike
      sdk.putItem(r -> r.tableName(table(db)).item(with(key("c", "1"), Map.of("x", AttributeValue.fromS("around")))));
    }
    GetItemResponse got = dax.getItem(r -> r.tableName(t).key(key("c", "1")));
    assertEquals("through", got.item().get("x").s());
    got = dax.getItem(r -> r.tableName(t).key(key("c", "1")).consistentRead(true));
    assertEquals("around", got.item().get("x").s());
    assertFalse(dax.getItem(r -> r.tableName(t).key(key("c", "2"))).hasItem());
  }
}
