package dev.stator;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;

/**
 * Two workers of the Kinesis Client Library follow a table under load, with their leases in the same database. Its shards are
 * rotated, one worker is killed half-way: every change is processed, and those of one item in their order.
 */
class KclTest {
  private static final String ENDPOINT = System.getenv("STATOR_CLOCK_ENDPOINT");
  private static final int ITEMS = 30;
  private static final int ROUNDS = 60;

  private final DynamoDbClient db = DynamoDbClient.builder().endpointOverride(URI.create(ENDPOINT)).region(Region.US_EAST_1)
      .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("any", "any"))).build();

  @Test
  void everyChangeInOrder() throws Exception {
    String table = "kcl-" + System.nanoTime();
    // The throughput gives the table, and with it the stream, four partitions.
    String arn = db.createTable(b -> b.tableName(table)
        .attributeDefinitions(a -> a.attributeName("id").attributeType("S")).keySchema(k -> k.attributeName("id").keyType("HASH"))
        .provisionedThroughput(p -> p.readCapacityUnits(3L).writeCapacityUnits(3500L))
        .streamSpecification(s -> s.streamEnabled(true).streamViewType("NEW_IMAGE"))).tableDescription().latestStreamArn();
    Path out = Files.createTempFile("kcl", ".txt");
    List<Process> workers = new ArrayList<>();
    try {
      workers.add(start(arn, table, "first", out));
      workers.add(start(arn, table, "second", out));
      load(table, ROUNDS / 3);
      until("a third of the changes", () -> progress(out) >= ITEMS * ROUNDS / 3);
      rotate();
      load(table, ROUNDS / 3);
      until("both workers at work", () -> new HashSet<>(names(out)).size() == 2);
      workers.get(0).destroyForcibly().waitFor();
      load(table, ROUNDS - 2 * (ROUNDS / 3));
      until("all changes", () -> progress(out) == ITEMS * ROUNDS);
    } finally {
      for (Process p : workers) {
        p.destroyForcibly().waitFor();
      }
    }
    Map<String, Integer> last = new HashMap<>();
    int ended = 0;
    for (String line : Files.readAllLines(out)) {
      String[] f = line.split(" ");
      if (f[2].equals("end")) {
        ended++;
        continue;
      }
      int n = Integer.parseInt(f[3]);
      int before = last.getOrDefault(f[2], 0);
      // What was processed after the last checkpoint of a worker that was killed comes again, but nothing is left out.
      assertTrue(n <= before + 1, () -> "item " + f[2] + ": change " + n + " comes behind " + before);
      last.put(f[2], Math.max(n, before));
    }
    assertEquals(ITEMS, last.size());
    for (int n : last.values()) {
      assertEquals(ROUNDS, n);
    }
    assertTrue(ended >= 4, "the rotated shards were read to their ends");
    Files.delete(out);
  }

  private Process start(String arn, String table, String name, Path out) throws Exception {
    File log = new File(System.getProperty("java.io.tmpdir"), table + "-" + name + ".log");
    log.deleteOnExit();
    return new ProcessBuilder(System.getProperty("java.home") + "/bin/java", "-Xmx256m", "-cp", System.getProperty("java.class.path"),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "dev.stator.Worker", ENDPOINT, arn, table + "-app", name, out.toString())
        .redirectErrorStream(true).redirectOutput(log).start();
  }

  private void load(String table, int rounds) {
    for (int r = 0; r < rounds; r++) {
      for (int i = 0; i < ITEMS; i++) {
        String id = "item" + i;
        db.updateItem(b -> b.tableName(table).key(Map.of("id", AttributeValue.fromS(id))).updateExpression("ADD n :one")
            .expressionAttributeValues(Map.of(":one", AttributeValue.fromN("1"))));
      }
    }
  }

  /** Moves the server's clock, so that its shards are older than four hours. */
  private void rotate() throws Exception {
    var request = HttpRequest.newBuilder(URI.create(ENDPOINT + "/_stator/clock")).POST(HttpRequest.BodyPublishers.ofString("{\"advance\":\"4h\"}"));
    assertEquals(200, HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString()).statusCode());
  }

  private static List<String> names(Path out) throws Exception {
    return Files.readAllLines(out).stream().map(l -> l.split(" ")[0]).toList();
  }

  /** The number of different changes that were processed. */
  private static int progress(Path out) throws Exception {
    var seen = new HashSet<String>();
    for (String line : Files.readAllLines(out)) {
      String[] f = line.split(" ");
      if (!f[2].equals("end")) {
        seen.add(f[2] + " " + f[3]);
      }
    }
    return seen.size();
  }

  private interface Condition {
    boolean holds() throws Exception;
  }

  private static void until(String what, Condition c) throws Exception {
    for (int i = 0; i < 600; i++) {
      if (c.holds()) {
        return;
      }
      Thread.sleep(200);
    }
    throw new AssertionError(what + ": did not happen");
  }
}
