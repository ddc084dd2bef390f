import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.util.Arrays;
import java.util.Optional;

/**
 * Starts DynamoDB Local on 127.0.0.1 only.
 *
 * <p>DynamoDB Local listens on every interface, without a password, and has no option for that. So this class starts
 * it through its own entry point and, before it listens, tells its web server which address to bind.
 * Everything is found by reflection: nothing of Amazon's is needed to compile this, and nothing of Amazon's is in it.
 * Where the host cannot be set it does not start at all.
 *
 * <p>System properties: {@code restrike.port} (0: any free one), {@code restrike.owner} (a process id: end when that
 * process does). The arguments are DynamoDB Local's own. Once it listens, it prints {@code restrike: listening on PORT}.
 *
 * <p>Compile with {@code make java}; the class file is shipped, since most users have a Java but no compiler.
 */
public final class LoopbackServer {
    private static final String[] RUNNERS = {
        "software.amazon.dynamodb.services.local.main.ServerRunner", // since 3.0
        "com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
    };

    private LoopbackServer() {}

    public static void main(String[] arguments) {
        try {
            endWithOwner();
            Object proxy = runner()
                    .getMethod("createServerFromCommandLineArgs", String[].class)
                    .invoke(null, (Object) arguments);
            Object connector = bindToLoopback(proxy, Integer.getInteger("restrike.port", 0));
            proxy.getClass().getMethod("start").invoke(proxy);
            System.out.println("restrike: listening on " + connector.getClass().getMethod("getLocalPort").invoke(connector));
        } catch (InvocationTargetException wrapper) {
            fail(wrapper.getCause());
        } catch (Throwable failure) {
            fail(failure);
        }
    }

    /** An owner that was killed cannot stop its server, so the server watches its owner. */
    private static void endWithOwner() {
        Long owner = Long.getLong("restrike.owner");
        if (owner == null) return;
        Optional<ProcessHandle> process = ProcessHandle.of(owner);
        if (process.isEmpty()) System.exit(0);
        process.get().onExit().thenRun(() -> System.exit(0));
    }

    private static Class<?> runner() throws ClassNotFoundException {
        for (String name : RUNNERS) {
            try {
                return Class.forName(name);
            } catch (ClassNotFoundException absent) {
                continue;
            }
        }
        throw new ClassNotFoundException("no DynamoDB Local on the class path: " + Arrays.toString(RUNNERS));
    }

    private static Object bindToLoopback(Object proxy, int port) throws ReflectiveOperationException {
        Field field = proxy.getClass().getDeclaredField("server");
        field.setAccessible(true);
        Object server = field.get(proxy);
        Object[] connectors = (Object[]) server.getClass().getMethod("getConnectors").invoke(server);
        if (connectors.length != 1) {
            throw new IllegalStateException("expected one connector, found " + connectors.length);
        }
        connectors[0].getClass().getMethod("setHost", String.class).invoke(connectors[0], "127.0.0.1");
        connectors[0].getClass().getMethod("setPort", int.class).invoke(connectors[0], port);
        return connectors[0];
    }

    /** The web server's threads keep the process alive, so a failure must end it. */
    private static void fail(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) System.err.println(cause);
        System.exit(1);
    }
}
