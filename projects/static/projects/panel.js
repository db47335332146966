// Relative times, copy buttons, hiding of revealed credentials, and error notices for htmx requests.
(function () {
  "use strict";

  let clockOffsetMs = 0; // the server's clock minus the browser's
  let connectionLost = false;

  function now() {
    return Date.now() + clockOffsetMs;
  }

  // Same texts as templatetags/panel.py.
  function relativeText(at) {
    const seconds = Math.round((now() - at) / 1000);
    const distance = Math.abs(seconds);
    if (distance < 1) return "now";
    let text;
    if (distance < 60) text = distance + " s";
    else if (distance < 3600) text = Math.floor(distance / 60) + " min";
    else if (distance < 86400) text = Math.floor(distance / 3600) + " h";
    else {
      const days = Math.floor(distance / 86400);
      text = days + (days === 1 ? " day" : " days");
    }
    return seconds > 0 ? text + " ago" : "in " + text;
  }

  function write(element, text) {
    if (element && element.textContent !== text) element.textContent = text;
  }

  function tick() {
    document.querySelectorAll("time[data-ago]").forEach(function (element) {
      write(element, relativeText(Date.parse(element.dateTime)));
    });
    document.querySelectorAll("[data-deadline]").forEach(function (element) {
      const since = Date.parse(element.dataset.since);
      const total = Date.parse(element.dataset.deadline) - since;
      const elapsed = Math.max(0, now() - since);
      const isLate = elapsed > total;
      element.classList.toggle("is-late", isLate);
      element.querySelector(".panel-bar span").style.width = Math.min(100, (100 * elapsed) / total) + "%";
      write(element.querySelector("[data-elapsed]"), Math.floor(elapsed / 1000) + " s");
      element.querySelector("[data-late]").hidden = !isLate;
      element.querySelector("[data-on-time]").hidden = isLate;
    });
    expireNotices();
    document.querySelectorAll("[data-hide-after-s]").forEach(function (element) {
      if (!element.dataset.hideAt) {
        element.dataset.hideAt = String(Date.now() + 1000 * Number(element.dataset.hideAfterS));
      }
      const left = Math.ceil((Number(element.dataset.hideAt) - Date.now()) / 1000);
      if (left <= 0) hideCredentials(element);
      else write(element.querySelector("[data-hide-in]"), left + " s");
    });
  }

  function hideCredentials(element) {
    const card = element.closest("#credentials");
    // Removed first: the server may not respond.
    element.remove();
    if (card) htmx.ajax("GET", card.getAttribute("hx-get"), { target: "#credentials", swap: "outerHTML" });
  }

  function expireNotices() {
    document.querySelectorAll("#notices .panel-notice").forEach(function (notice) {
      if ("stays" in notice.dataset) return;
      if (!notice.dataset.until) notice.dataset.until = String(Date.now() + 8000);
      else if (Date.now() > Number(notice.dataset.until)) notice.remove();
    });
  }

  function copy(button) {
    const text = document.getElementById(button.dataset.copy).textContent;
    const done = function () {
      const icon = button.firstElementChild;
      icon.textContent = "check";
      announce("Copied.");
      setTimeout(function () {
        icon.textContent = "content_copy";
      }, 1500);
    };
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(text).then(done);
      return;
    }
    // The clipboard API is missing over plain HTTP, except on localhost.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "panel-visually-hidden";
    document.body.append(area);
    area.select();
    if (document.execCommand("copy")) done();
    area.remove();
    button.focus();
  }

  function announce(text) {
    write(document.getElementById("announcement"), text);
  }

  function setConnectionLost(isLost) {
    if (isLost === connectionLost) return;
    connectionLost = isLost;
    document.documentElement.classList.toggle("panel-connection-lost", isLost);
    if (isLost) announce("Connection lost. This page may be out of date.");
  }

  // A new notice replaces the messages that the page was loaded with.
  function removeMessages() {
    document.querySelectorAll(".panel-messages").forEach(function (messages) {
      messages.remove();
    });
  }

  // A failed request's notice: unlike others, it stays until the next one.
  function showError(text) {
    const notices = document.getElementById("notices");
    if (!notices || (notices.textContent || "").includes(text)) return;
    const notice = document.createElement("div");
    notice.className = "panel-notice is-refused";
    notice.dataset.outcome = "error";
    notice.dataset.stays = "";
    const icon = document.createElement("span");
    icon.className = "material-symbols-outlined";
    icon.setAttribute("aria-hidden", "true");
    icon.textContent = "block";
    const message = document.createElement("span");
    message.textContent = text;
    const reload = document.createElement("button");
    reload.type = "button";
    reload.className = "panel-button is-small";
    reload.dataset.reload = "";
    reload.textContent = "Reload page";
    notice.append(icon, message, reload);
    notices.replaceChildren(notice);
    removeMessages();
    notice.scrollIntoView({ block: "nearest" }); // the button may be far below
  }

  // The notice of a 4xx response: the message of the error page that arrived instead of a fragment.
  function explainRefusal(xhr, isButton) {
    const answer = new DOMParser().parseFromString(xhr.responseText, "text/html").querySelector("[data-message]");
    const why =
      xhr.status === 404
        ? "It was deleted, or you no longer have permission to view it."
        : (answer && answer.textContent.trim()) || "The request was refused (" + xhr.status + ").";
    const what = isButton ? "Nothing was changed. " : "This page no longer updates. ";
    showError(what + why + (/reload the page/i.test(why) ? "" : " Reload the page for its current state."));
  }

  function isButton(detail) {
    return detail.requestConfig.verb !== "get";
  }

  function readClock(root) {
    const element = root.querySelector("[data-now]");
    if (element) clockOffsetMs = Date.parse(element.dataset.now) - Date.now();
  }

  document.addEventListener("click", function (event) {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    if (event.target.closest("[data-reload]")) window.location.reload();
  });

  document.addEventListener("htmx:afterSwap", function () {
    readClock(document);
    tick();
    const status = document.querySelector("[data-announcement]");
    if (status) announce(status.dataset.announcement);
  });
  document.addEventListener("htmx:oobAfterSwap", function (event) {
    if (event.detail.target.id === "notices") removeMessages();
  });
  document.addEventListener("htmx:afterRequest", function (event) {
    const xhr = event.detail.xhr;
    if (!xhr || xhr.status === 0) return; // aborted for another request, or htmx:sendError follows
    setConnectionLost(xhr.status >= 500);
    if (xhr.status >= 500 && isButton(event.detail)) {
      showError("Internal error. The request may or may not have been processed. Reload the page to check.");
    } else if (xhr.status >= 400 && xhr.status < 500) {
      explainRefusal(xhr, isButton(event.detail));
    }
  });
  ["htmx:sendError", "htmx:timeout"].forEach(function (name) {
    document.addEventListener(name, function (event) {
      setConnectionLost(true);
      if (isButton(event.detail)) {
        showError("No response. The request may or may not have been processed. Reload the page when the panel is available again.");
      }
    });
  });

  // A page restored from the browser's back/forward cache must not show revealed credentials.
  window.addEventListener("pageshow", function (event) {
    if (event.persisted && document.querySelector("[data-hide-after-s]")) window.location.reload();
  });

  // Focus the first invalid field of a form that was shown again.
  function showFirstError() {
    const wrong = document.querySelector('form [aria-invalid="true"]');
    if (!wrong) return;
    wrong.focus({ preventScroll: true });
    wrong.scrollIntoView({ block: "center" });
  }

  // After the theme's scripts have opened the form's tab.
  window.addEventListener("load", function () {
    setTimeout(showFirstError);
  });
  document.addEventListener("DOMContentLoaded", function () {
    readClock(document);
    tick();
    setInterval(tick, 1000);
  });
})();
