package redis.clients.jedis;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;

/** Stands in for Jedis where Maven's central repository can't be reached: what the guide's lines call of it, and PUBLISH as Redis takes it. */
public final class RedisClient implements AutoCloseable {
    private final URI address;

    private RedisClient(URI address) {
        this.address = address;
    }

    public static RedisClient create(String url) {
        return new RedisClient(URI.create(url));
    }

    public long publish(String channel, String message) {
        try (Socket socket = new Socket(address.getHost(), address.getPort())) {
            String command = "*3\r\n" + word("PUBLISH") + word(channel) + word(message);
            socket.getOutputStream().write(command.getBytes(StandardCharsets.UTF_8));
            String answer = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8)).readLine();
            if (answer == null || !answer.startsWith(":")) {
                throw new IllegalStateException(answer);
            }
            return Long.parseLong(answer.substring(1));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static String word(String text) {
        return "$" + text.getBytes(StandardCharsets.UTF_8).length + "\r\n" + text + "\r\n";
    }

    @Override
    public void close() {}
}
