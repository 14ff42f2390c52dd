//! Images of requests: within the limits, and whole, or 400 with the place of the image before a model is asked.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use serde_json::{Value, json};
use tests::http::{BufferedResponse, post};
use tests::sidecar::Sidecar;

use crate::stack::{assert_error, start, start_with};

/// The route of a request, the body around an image, and `param` of an error about the image.
type Place = (&'static str, fn(&str) -> Value, &'static str);

/// The four places of an image.
const PLACES: [Place; 4] = [
    (
        "/v1/chat/completions",
        |url| json!({"messages": [{"role": "system", "content": "Look."}, user(url)]}),
        "messages[1].content[1].image_url.url",
    ),
    (
        "/v1/chat/completions",
        |url| {
            let call = json!({"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}});
            let part = json!({"type": "image_url", "image_url": {"url": url}});
            json!({"messages": [
                {"role": "user", "content": "[[model:{\"text\":\"Seen.\"}]]"},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": [part]},
            ]})
        },
        "messages[2].content[0].image_url.url",
    ),
    (
        "/v1/responses",
        |url| json!({"input": [input(url)]}),
        "input[0].content[1].image_url",
    ),
    (
        "/v1/responses",
        |url| {
            json!({"input": [
                {"role": "user", "content": "[[model:{\"text\":\"Seen.\"}]]"},
                {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": url}]},
            ]})
        },
        "input[2].output[0].image_url",
    ),
];

fn user(url: &str) -> Value {
    json!({"role": "user", "content": [
        {"type": "text", "text": "[[model:{\"text\":\"Seen.\"}]]"},
        {"type": "image_url", "image_url": {"url": url}},
    ]})
}

fn input(url: &str) -> Value {
    json!({"role": "user", "content": [
        {"type": "input_text", "text": "[[model:{\"text\":\"Seen.\"}]]"},
        {"type": "input_image", "image_url": url},
    ]})
}

async fn send(sidecar: &Sidecar, path: &str, mut body: Value) -> BufferedResponse {
    body["model"] = "codex-5".into();
    let mut client = sidecar.connect().await;
    let response = client.send(post(path, body.to_string())).await;
    response.expect("a response arrives")
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, format)
        .expect("the format can be written");
    bytes.into_inner()
}

/// A picture that does not compress to a few bytes, so that each part of the file matters.
fn picture() -> DynamicImage {
    let pixel = |x: u32, y: u32| {
        let value = (x * 31 + y * 17) ^ (x * y);
        let [low, high, ..] = value.to_le_bytes();
        image::Rgb([low, high, low ^ high])
    };
    RgbImage::from_fn(64, 64, pixel).into()
}

fn url(bytes: &[u8]) -> String {
    // The media type is not compared with the data.
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

/// A grey PNG of this size.
pub(crate) fn png(width: u32, height: u32) -> String {
    url(&encode(
        &GrayImage::new(width, height).into(),
        ImageFormat::Png,
    ))
}

/// The formats that Codex accepts.
const FORMATS: [ImageFormat; 4] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::Gif,
    ImageFormat::WebP,
];

#[tokio::test]
async fn image_that_is_cut_off_or_damaged_is_400_with_its_place() {
    let (model, sidecar) = start().await;
    for format in FORMATS {
        let whole = encode(&picture(), format);
        let cut = whole[..whole.len() * 2 / 3].to_vec();
        let header_only = whole[..20].to_vec();
        for broken in [cut, header_only] {
            for (path, body, param) in PLACES {
                let response = send(&sidecar, path, body(&url(&broken))).await;
                assert_error(&response, 400, "unsupported_value");
                let error = response.json()["error"].take();
                assert_eq!(error["param"], param, "{format:?}");
                let message = error["message"].as_str().unwrap();
                assert!(message.contains("Send the whole file"), "{message}");
            }
        }
    }
    let mut damaged = encode(&picture(), ImageFormat::Png);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let response = send(
        &sidecar,
        "/v1/responses",
        json!({"input": [input(&url(&damaged))]}),
    )
    .await;
    assert_error(&response, 400, "unsupported_value");
    assert_eq!(model.requests().len(), 0);
}

#[tokio::test]
async fn whole_image_of_each_format_reaches_the_model() {
    let (model, sidecar) = start().await;
    for format in FORMATS {
        for (path, body, _) in PLACES {
            let response = send(&sidecar, path, body(&url(&encode(&picture(), format)))).await;
            assert_eq!(response.status, 200, "{format:?} {response:?}");
            let requests = model.requests();
            let sent = requests.last().expect("the model is asked");
            assert!(sent.body["input"].to_string().contains("input_image"));
        }
    }
}

#[tokio::test]
async fn image_with_a_huge_header_is_rejected_before_it_is_decoded() {
    let (model, sidecar) = start().await;
    let huge = png(16_000, 16_000);
    for (path, body, param) in PLACES {
        let response = send(&sidecar, path, body(&huge)).await;
        assert_error(&response, 400, "image_too_large");
        let error = response.json()["error"].take();
        assert_eq!(error["param"], param);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("256 megapixels"), "{message}");
        assert!(message.contains("at most 51"), "{message}");
    }
    let large = png(8_000, 8_000);
    let messages = vec![user(&large); 8];
    let body = json!({ "messages": messages });
    let response = send(&sidecar, "/v1/chat/completions", body).await;
    assert_error(&response, 400, "image_too_large");
    assert_eq!(
        response.json()["error"]["param"],
        "messages[0].content[1].image_url.url"
    );
    assert_eq!(model.requests().len(), 0);
}

#[tokio::test]
async fn image_at_the_default_limit_is_accepted() {
    let (_model, sidecar) = start().await;
    let photo = png(8_160, 6_144);
    let response = send(
        &sidecar,
        "/v1/chat/completions",
        json!({"messages": [user(&photo)]}),
    )
    .await;
    assert_eq!(response.status, 200, "{response:?}");
}

#[tokio::test]
async fn pixels_and_number_of_images_are_limited_per_conversation() {
    let (_model, sidecar) = start_with(|options| {
        options
            .env("PROXY_IMAGE_MAX_MPX", "1")
            .env("PROXY_IMAGES_MAX_MPX", "2")
            .env("PROXY_IMAGES_MAX", "3")
    })
    .await;
    let (large, small) = (png(1_000, 1_000), png(10, 10));
    for (images, rejection) in [
        (vec![&large, &large], None),
        (vec![&small, &small, &small], None),
        (
            vec![&small, &png(1_001, 1_000)],
            Some((1, "image_too_large", "PROXY_IMAGE_MAX_MPX")),
        ),
        (
            vec![&large, &large, &small],
            Some((2, "image_too_large", "PROXY_IMAGES_MAX_MPX")),
        ),
        (
            vec![&small, &small, &small, &small],
            Some((3, "too_many_images", "PROXY_IMAGES_MAX")),
        ),
    ] {
        let messages: Vec<_> = images.iter().map(|image| user(image)).collect();
        let items: Vec<_> = images.iter().map(|image| input(image)).collect();
        let chat = send(
            &sidecar,
            "/v1/chat/completions",
            json!({ "messages": messages }),
        )
        .await;
        let response = send(&sidecar, "/v1/responses", json!({ "input": items })).await;
        let Some((index, code, variable)) = rejection else {
            assert_eq!((chat.status.as_u16(), response.status.as_u16()), (200, 200));
            continue;
        };
        for (reply, param) in [
            (chat, format!("messages[{index}].content[1].image_url.url")),
            (response, format!("input[{index}].content[1].image_url")),
        ] {
            assert_error(&reply, 400, code);
            let error = reply.json()["error"].take();
            assert_eq!(error["param"], param);
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(variable), "{message}");
        }
    }
}

#[tokio::test]
async fn images_of_a_continued_response_count_and_have_no_place() {
    let (_model, sidecar) = start_with(|options| options.env("PROXY_IMAGES_MAX", "2")).await;
    let small = png(10, 10);
    let next = async |previous: &Value, input: Value| {
        let body = json!({"previous_response_id": previous, "input": input});
        send(&sidecar, "/v1/responses", body).await
    };
    let first = next(&Value::Null, json!([input(&small), input(&small)])).await;
    assert_eq!(first.status, 200, "{first:?}");
    let id = first.json()["id"].take();
    let text = json!("[[model:{\"text\":\"Seen.\"}]]");
    assert_eq!(next(&id, text).await.status, 200);
    let rejected = next(&id, json!([input(&small)])).await;
    assert_error(&rejected, 400, "too_many_images");
    assert_eq!(
        rejected.json()["error"]["param"],
        "input[0].content[1].image_url"
    );
}
