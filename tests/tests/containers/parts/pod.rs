//! The containers of `deploy/kubernetes/statefulset.yaml`, run by the engine as the kubelet runs them: one network
//! namespace, the same security contexts, volumes, probes and order.
//! Follows the Kubernetes API for pods; a field that this file does not know fails the test.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use serde_json::{Map, Value, json};
use xtask::command::output;
use xtask::workspace;

use super::configuration::with_keys;
use crate::client::ApiClient;
use crate::engine::{SHOW, assert_confined};
use crate::stack::{KEY, Stack, free_port};

/// The folder of the ConfigMap `filter`, in the checkout.
const CONFIG_MAP: &str = "config-map";
/// The API key in the Secret.
const API_KEY: &str = "sk-of-a-team";

pub(crate) fn containers_of_the_pod_run(stack: &Stack<'_>) {
    let pod = Pod::new(stack);
    pod.start();
    let client = pod.client();
    client.wait_for_chat();
    client.wait_for(|| client.get("/readyz"), |answer| answer.status == 200);
    pod.assert_probes_pass();
    for name in ["envoy", "sidecar"] {
        assert_confined(name, &pod.exec(name, SHOW));
    }
    let login = pod.exec(
        "sidecar",
        "stat --format %a $CODEX_HOME/auth.json; cat $CODEX_HOME/auth.json",
    );
    assert!(
        login.starts_with("600\n") && login.contains(API_KEY),
        "{login}"
    );

    // The kubelet swaps the link of a ConfigMap; Envoy reads the keys again.
    let ann = client.with_key("sk-of-ann-0123456789");
    assert_eq!(ann.get("/v1/usage").status, 401);
    pod.write_config_map("second", &json!([{"id": "ann", "key": ann.key}]));
    ann.wait_for(|| ann.get("/v1/usage"), |answer| answer.status == 200);

    for name in ["sidecar", "envoy"] {
        pod.replace(name);
        let time = client.wait_for_chat();
        eprintln!(
            "{name} of the pod replaced: answers after {:.1} s",
            time.as_secs_f64()
        );
    }
    let stream = client.stream(5);
    pod.terminate();
    stream.assert_whole("the end of the pod");
}

/// A pod; its containers are named after it.
struct Pod<'a> {
    stack: &'a Stack<'a>,
    spec: Value,
    /// Prefix of the names of networks, volumes and containers.
    name: String,
    port: u16,
}

impl<'a> Pod<'a> {
    fn new(stack: &'a Stack<'a>) -> Self {
        let path = workspace::root().join("deploy/kubernetes/statefulset.yaml");
        let text = fs::read_to_string(path).expect("a file of the tree");
        let mut set: Value = serde_saphyr::from_str(&text).expect("YAML");
        let port = free_port();
        let pod = Self {
            stack,
            spec: set["spec"]["template"]["spec"].take(),
            name: format!("codex-edge-pod-{port}"),
            port,
        };
        let claims = set["spec"]["volumeClaimTemplates"].take();
        pod.make_volumes(&claims);
        pod
    }

    fn client(&self) -> ApiClient {
        ApiClient::new(self.port, KEY)
    }

    fn name_of(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn docker(&self, arguments: &[String]) -> String {
        self.stack.engine.docker(arguments)
    }

    /// Runs a script as root in a container with a volume, and with `stdin`.
    fn prepare(&self, volume: &str, script: &str) {
        let mount = format!(
            "type=volume,src={},dst=/volume,volume-nocopy",
            self.name_of(volume)
        );
        self.docker(&words(&[
            "run",
            "--rm",
            "--network=none",
            "--user=0",
            "--entrypoint=sh",
            "--mount",
            &mount,
            &self.stack.image("model"),
            "-exc",
            script,
        ]));
    }

    fn make_volumes(&self, claims: &Value) {
        for volume in list(&self.spec["volumes"]) {
            let name = text(&volume["name"]);
            if volume.get("configMap").is_some() {
                self.write_config_map("first", &json!([]));
                continue;
            }
            let empty = volume["emptyDir"]
                .as_object()
                .expect("an emptyDir or a ConfigMap");
            let mut create = words(&["volume", "create"]);
            if empty.get("medium") == Some(&json!("Memory")) {
                create.extend(words(&[
                    "--opt=type=tmpfs",
                    "--opt=device=tmpfs",
                    "--opt=o=size=1m,mode=0777",
                ]));
            }
            create.push(self.name_of(name));
            self.docker(&create);
            if empty.get("medium").is_none() {
                self.prepare(name, "chgrp 10001 /volume; chmod 2777 /volume");
            }
        }
        for claim in list(claims) {
            let name = text(&claim["metadata"]["name"]);
            self.docker(&words(&["volume", "create", &self.name_of(name)]));
            self.prepare(name, "chgrp 10001 /volume; chmod 2775 /volume");
        }
        // The operator's provider, since the real one cannot be reached.
        let config =
            fs::read_to_string(self.stack.path("deploy/demo/config.toml")).expect("copied");
        let script = format!(
            "mkdir /volume/home; chmod 700 /volume/home; cat >/volume/home/config.toml <<'END'\n{config}\nEND\nchown -R 10001:10001 /volume/home"
        );
        self.prepare("codex", &script);
    }

    /// Writes a version of the ConfigMap as the kubelet does: a folder, and a link that is swapped.
    fn write_config_map(&self, version: &str, keys: &Value) {
        let folder = self.stack.path(CONFIG_MAP);
        let data = folder.join(format!("..{version}"));
        fs::create_dir_all(&data).expect("the folder is writable");
        let shipped = fs::read_to_string(self.stack.path("deploy/kubernetes/filter.yaml"));
        let written = with_keys(&shipped.expect("copied"), keys);
        fs::write(data.join("filter.yaml"), written).expect("the folder is writable");
        let next = folder.join("..next");
        symlink(data.file_name().expect("a folder"), &next).expect("the folder is writable");
        fs::rename(&next, folder.join("..data")).expect("the folder is writable");
        if !folder.join("filter.yaml").exists() {
            symlink("..data/filter.yaml", folder.join("filter.yaml"))
                .expect("the folder is writable");
        }
    }

    /// Starts the pod: the network namespace, the init containers one after another, then the container.
    fn start(&self) {
        let (network, image) = (self.name_of("network"), self.stack.image("model"));
        self.docker(&words(&["network", "create", &network]));
        self.docker(&words(&[
            "run",
            "--detach",
            "--name",
            &self.name_of("model"),
            "--network",
            &network,
            "--network-alias=model",
            &image,
        ]));
        let publish = format!("127.0.0.1:{}:11435", self.port);
        self.docker(&words(&[
            "run",
            "--detach",
            "--init",
            "--name",
            &self.name_of("pause"),
            "--network",
            &network,
            "--publish",
            &publish,
            "--entrypoint=sleep",
            &image,
            "infinity",
        ]));
        for container in list(&self.spec["initContainers"])
            .iter()
            .chain(list(&self.spec["containers"]))
        {
            self.run(container);
        }
    }

    /// Runs a container: in the background if it is to go on, else to its end.
    fn run(&self, container: &Value) {
        let name = text(&container["name"]);
        let stays =
            container.get("restartPolicy").is_some() || container.get("startupProbe").is_some();
        let mut run = words(&["run", "--name", &self.name_of(name)]);
        run.push(if stays { "--detach" } else { "--rm" }.to_owned());
        run.extend(words(&[
            "--network",
            &format!("container:{}", self.name_of("pause")),
        ]));
        run.extend(
            self.security(
                container
                    .get("securityContext")
                    .expect("each container has one"),
            ),
        );
        run.extend(self.environment(container));
        for mount in list(&container["volumeMounts"]) {
            run.extend(self.mount(mount));
        }
        let memory = text(&container["resources"]["limits"]["memory"]);
        run.push(format!(
            "--memory={}",
            memory.trim_end_matches('i').to_lowercase()
        ));
        let mut command = container
            .get("command")
            .map(list)
            .unwrap_or_default()
            .iter()
            .map(text);
        if let Some(program) = command.next() {
            run.push(format!("--entrypoint={program}"));
        }
        run.push(
            self.stack
                .image(text(&container["image"]).trim_start_matches("codex-edge-")),
        );
        run.extend(command.map(str::to_owned));
        run.extend(
            container
                .get("args")
                .map(list)
                .unwrap_or_default()
                .iter()
                .map(|word| text(word).to_owned()),
        );
        self.docker(&run);
        if let Some(probe) = container.get("startupProbe") {
            self.client()
                .wait_for(|| self.client().get("/livez"), |_| self.passes(name, probe));
        }
    }

    /// The security contexts of the pod and of a container as flags.
    fn security(&self, own: &Value) -> Vec<String> {
        let mut flags = Vec::new();
        let pod = self.spec["securityContext"].as_object().expect("an object");
        let (mut user, mut group) = (0, 0);
        for (field, value) in pod.iter().chain(own.as_object().expect("an object")) {
            match field.as_str() {
                "runAsUser" => user = value.as_u64().expect("a number"),
                "runAsGroup" => group = value.as_u64().expect("a number"),
                "fsGroup" => flags.push(format!("--group-add={value}")),
                "fsGroupChangePolicy" => {}
                "runAsNonRoot" | "readOnlyRootFilesystem" => assert_eq!(value, true, "{field}"),
                // The engine's own profile is the default.
                "seccompProfile" => assert_eq!(value, &json!({"type": "RuntimeDefault"})),
                "allowPrivilegeEscalation" => assert_eq!(value, false, "{field}"),
                "capabilities" => assert_eq!(value, &json!({"drop": ["ALL"]})),
                _ => panic!("{field} is not known"),
            }
        }
        assert_ne!(user, 0, "runAsNonRoot");
        flags.extend(words(&[
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            &format!("--user={user}:{group}"),
        ]));
        flags
    }

    fn environment(&self, container: &Value) -> Vec<String> {
        let mut pairs = Map::new();
        if container.get("envFrom").is_some() {
            let settings = fs::read_to_string(self.stack.path("deploy/kubernetes/settings.env"))
                .expect("copied");
            let lines = settings.lines().filter(|line| !line.starts_with('#'));
            pairs.extend(
                lines
                    .filter_map(|line| line.split_once('='))
                    .map(|(name, value)| (name.to_owned(), json!(value))),
            );
            pairs.insert("CODEX_FORCE_PROVIDER".to_owned(), json!("demo"));
        }
        for variable in container.get("env").map(list).unwrap_or_default() {
            let secret = &variable["valueFrom"]["secretKeyRef"]["key"];
            let value = match secret.as_str() {
                Some("PROXY_API_KEY") => json!(KEY),
                Some("OPENAI_API_KEY") => json!(API_KEY),
                Some(other) => panic!("{other} is not in the Secret"),
                None => variable["value"].clone(),
            };
            pairs.insert(text(&variable["name"]).to_owned(), value);
        }
        pairs
            .iter()
            .map(|(name, value)| format!("--env={name}={}", text(value)))
            .collect()
    }

    fn mount(&self, mount: &Value) -> Vec<String> {
        let (name, path) = (text(&mount["name"]), text(&mount["mountPath"]));
        let mut value = if name == "filter" {
            format!(
                "type=bind,src={},dst={path}",
                self.stack.path(CONFIG_MAP).display()
            )
        } else {
            format!(
                "type=volume,src={},dst={path},volume-nocopy",
                self.name_of(name)
            )
        };
        if mount.get("readOnly") == Some(&json!(true)) {
            value.push_str(",readonly");
        }
        words(&["--mount", &value])
    }

    fn exec(&self, container: &str, script: &str) -> String {
        self.docker(&words(&[
            "exec",
            &self.name_of(container),
            "sh",
            "-c",
            script,
        ]))
    }

    /// Whether a probe of a container passes now.
    fn passes(&self, container: &str, probe: &Value) -> bool {
        if let Some(command) = probe.get("exec") {
            let mut exec = words(&["exec", &self.name_of(container)]);
            exec.extend(
                list(&command["command"])
                    .iter()
                    .map(|word| text(word).to_owned()),
            );
            return self.stack.engine.try_docker(&exec).is_ok();
        }
        if let Some(request) = probe.get("httpGet") {
            assert_eq!(request["port"], 11435, "{probe}");
            return self.client().get(text(&request["path"])).status == 200;
        }
        assert_eq!(probe["tcpSocket"]["port"], "http", "{probe}");
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    fn assert_probes_pass(&self) {
        for container in self.lasting() {
            for kind in ["startupProbe", "livenessProbe", "readinessProbe"] {
                if let Some(probe) = container.get(kind) {
                    assert!(
                        self.passes(text(&container["name"]), probe),
                        "{kind}: {probe}"
                    );
                }
            }
        }
    }

    /// The containers that run as long as the pod.
    fn lasting(&self) -> impl Iterator<Item = &Value> {
        let init = list(&self.spec["initContainers"]).iter();
        init.filter(|container| container.get("restartPolicy").is_some())
            .chain(list(&self.spec["containers"]))
    }

    /// Kills a container and runs it again in the same volumes.
    fn replace(&self, name: &str) {
        self.docker(&words(&["rm", "--force", &self.name_of(name)]));
        let container = self.lasting().find(|container| container["name"] == name);
        self.run(container.expect("a container of the pod"));
    }

    /// Ends the pod: the hook of the container, then SIGTERM to it, then to the sidecar container of Kubernetes.
    fn terminate(&self) {
        for container in list(&self.spec["containers"]) {
            let name = self.name_of(text(&container["name"]));
            let mut hook = words(&["exec", &name]);
            let command = &container["lifecycle"]["preStop"]["exec"]["command"];
            hook.extend(list(command).iter().map(|word| text(word).to_owned()));
            self.docker(&hook);
            self.docker(&words(&["stop", "--time=60", &name]));
        }
        self.docker(&words(&["stop", "--time=60", &self.name_of("envoy")]));
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let engine = self.stack.engine;
        for (kind, list, remove) in [
            (
                "container",
                &["container", "ls", "--all", "--format={{.Names}}"][..],
                &["container", "rm", "--force"][..],
            ),
            (
                "volume",
                &["volume", "ls", "--format={{.Name}}"],
                &["volume", "rm"],
            ),
            (
                "network",
                &["network", "ls", "--format={{.Name}}"],
                &["network", "rm"],
            ),
        ] {
            let names = engine.try_docker(list).unwrap_or_default();
            let own: Vec<_> = names
                .lines()
                .filter(|name| name.starts_with(&self.name))
                .collect();
            if kind == "container" && std::thread::panicking() {
                for name in &own {
                    let log = output(
                        engine
                            .command("docker")
                            .args(["logs", "--tail=30", name])
                            .stderr(Stdio::inherit()),
                    );
                    eprintln!("{name}:\n{}", log.unwrap_or_default());
                }
            }
            if !own.is_empty()
                && let Err(error) = engine.try_docker(&[remove, &own].concat())
            {
                eprintln!("{error}");
            }
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}
